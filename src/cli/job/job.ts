/**
 * Runs a long call as the client library's job: shows its progress, and cancels it on Ctrl-C. Both use another connection,
 * since the first one is busy with the call.
 */

import type { JobStats } from '../../client/api.ts';
import { startJob } from '../../client/job.ts';
import { jobStats } from '../../client/job-stats.ts';
import type { DomainRef } from '../../model/domain.ts';
import { allFlags, JOB_STATS } from '../../model/flags.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { Session } from '../session.ts';
import { progressLine, type Sample, sampleOf, summaryLine } from './progress.ts';

/** For every command that runs a job. */
export const PROGRESS_JSON = {
  name: 'progress-json',
  type: 'bool',
  help: 'print the progress as JSON, one line a quarter of a second, to standard error',
} as const;

/** Shows what a job reports of itself. */
interface Display {
  running(stats: JobStats): void;
  /** Not called if the job has failed. */
  completed(stats: JobStats): void;
}

/** Runs `work`, a job on the domain, with progress and Ctrl-C. Rejects as `work` does. */
export async function runJob<T>(
  session: Session,
  domain: DomainRef,
  work: () => Promise<T>,
  { 'progress-json': asJson = false }: { readonly 'progress-json'?: boolean } = {},
): Promise<T> {
  await using second = secondConnection(session);
  const calls = {
    getJobStats: async (ref: DomainRef, flags: number) => await (await second.client()).getJobStats(ref, flags),
    abortJob: async (ref: DomainRef) => await (await second.client()).abortJob(ref),
  };
  const job = startJob(calls, domain, work);
  using interrupts = onInterrupt(session, () => job.cancel());
  const display = displayOf(session, asJson);
  try {
    if (!display) return await job;
    for await (const stats of job) display.running(stats);
    // The job has succeeded, even if the daemon does not say how.
    const completed = await calls.getJobStats(domain, allFlags(JOB_STATS)).catch(() => undefined);
    if (completed) display.completed(jobStats(completed));
    return await job;
  } finally {
    await interrupts.cancelling;
  }
}

function secondConnection(session: Session): { client(): Promise<RpcClient> } & AsyncDisposable {
  let made: Promise<RpcClient> | undefined;
  return {
    client: () => (made ??= session.connect()),
    [Symbol.asyncDispose]: async () => (await made?.catch(() => undefined))?.[Symbol.dispose](),
  };
}

function displayOf(session: Session, asJson: boolean): Display | undefined {
  if (asJson) return { running: session.progressJson, completed: session.progressJson };
  return process.stderr.isTTY && !session.quiet ? bar(session) : undefined;
}

/** Shows nothing while no memory is written. */
function bar(session: Session): Display {
  let first: Sample | undefined;
  return {
    running(stats) {
      const sample = sampleOf(stats, performance.now());
      first ??= sample;
      if (first && sample) session.progress(progressLine(first, sample, process.stderr.columns));
    },
    completed(stats) {
      const summary = summaryLine(stats);
      if (summary !== undefined) session.note(summary);
    },
  };
}

interface Interrupts extends Disposable {
  /** The cancellation under way, if there is one. */
  readonly cancelling: Promise<void> | undefined;
}

/** Cancels on the first Ctrl-C; quits at once on the second. Prints why if the daemon says that it is too late. */
function onInterrupt(session: Session, cancel: () => Promise<void>): Interrupts {
  let cancelling: Promise<void> | undefined;
  const interrupt = (): void => {
    if (cancelling) session.leave();
    session.interrupted = true;
    session.note('cancelling; press Ctrl-C again to quit and let the daemon finish');
    cancelling = cancel().catch((error) => session.error((error as Error).message));
  };
  process.on('SIGINT', interrupt);
  return {
    get cancelling() {
      return cancelling;
    },
    [Symbol.dispose]: () => process.off('SIGINT', interrupt),
  };
}
