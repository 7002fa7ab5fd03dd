/**
 * Runs a long call: shows its progress on a terminal and aborts it on Ctrl-C. Both use another connection, since the first
 * one is busy with the call.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { DomainRef } from '../../model/domain.ts';
import { allFlags, JOB_STATS } from '../../model/flags.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { Session } from '../session.ts';
import { progressLine, type Sample, sampleOf, summaryLine } from './progress.ts';

/** Interval between two questions to the daemon. */
const POLL_MS = 250;
/** VIR_DOMAIN_JOB_NONE. */
const NO_JOB = 0;

/** Runs `work`, a job on the domain, with progress and Ctrl-C. Rejects as `work` does. */
export async function runJob<T>(session: Session, domain: DomainRef, work: () => Promise<T>): Promise<T> {
  const ended = new AbortController();
  using interrupts = onInterrupt(session, domain, ended.signal);
  const job = work().finally(() => ended.abort());
  const watched = process.stderr.isTTY && !session.quiet ? showProgress(session, domain, job, ended.signal) : undefined;
  try {
    return await job;
  } finally {
    await watched;
    await interrupts.aborting;
  }
}

async function showProgress(
  session: Session,
  domain: DomainRef,
  job: Promise<unknown>,
  ended: AbortSignal,
): Promise<void> {
  try {
    using client = await session.connect();
    await showBar(session, client, domain, ended);
    await job;
    const summary = summaryLine(await client.getJobStats(domain, allFlags(JOB_STATS)));
    if (summary !== undefined) session.note(summary);
  } catch {
    // The job runs even if its progress cannot be shown; runJob() rejects with the job's own error.
  }
}

/** Shows the bar until the job has ended; shows nothing while no memory is written. */
async function showBar(session: Session, client: RpcClient, domain: DomainRef, ended: AbortSignal): Promise<void> {
  let first: Sample | undefined;
  while (!ended.aborted) {
    const sample = sampleOf(await client.getJobStats(domain, 0), performance.now());
    first ??= sample;
    if (first && sample) session.progress(progressLine(first, sample, process.stderr.columns));
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
}

interface Interrupts extends Disposable {
  /** The abort under way, if there is one. */
  readonly aborting: Promise<void> | undefined;
}

/** Aborts the job on the first Ctrl-C; quits at once on the second. */
function onInterrupt(session: Session, domain: DomainRef, ended: AbortSignal): Interrupts {
  let aborting: Promise<void> | undefined;
  const interrupt = (): void => {
    if (aborting) session.leave();
    session.interrupted = true;
    session.note('cancelling; press Ctrl-C again to quit and let the daemon finish');
    aborting = abort(session, domain, ended).catch((error) => session.error((error as Error).message));
  };
  process.on('SIGINT', interrupt);
  return {
    get aborting() {
      return aborting;
    },
    [Symbol.dispose]: () => process.off('SIGINT', interrupt),
  };
}

/** Waits until the job starts, unless it ends first, and aborts it. Rejects if the daemon says that it is too late. */
async function abort(session: Session, domain: DomainRef, ended: AbortSignal): Promise<void> {
  using client = await session.connect();
  while (!ended.aborted) {
    const { type } = await client.getJobStats(domain, 0);
    if (type !== NO_JOB) return await client.abortJob(domain);
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
}
