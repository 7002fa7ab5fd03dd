/**
 * A call that takes its time: what it has done so far is shown on a terminal, and Ctrl-C takes it back. Both go over a
 * connection of their own, since the first one's call is under way.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { DomainRef } from '../model/domain.ts';
import type { JobStats, RpcClient } from '../rpc/client.ts';
import { progressLine, type Sample, sampleOf, summaryLine } from './progress.ts';
import type { Session } from './session.ts';

/** How often the daemon is asked. */
const POLL_MS = 250;
/** VIR_DOMAIN_JOB_STATS_COMPLETED. */
const COMPLETED = 0x1;
/** VIR_DOMAIN_JOB_NONE. */
const NO_JOB = 0;
const NOTHING_KNOWN: JobStats = { type: NO_JOB, params: [] };
/** Back to the line's first column, and the line emptied. */
const CLEAR = '\r\x1b[K';

/** Runs `work`, which is a job on the domain, with progress and Ctrl-C. What `work` rejects with, this rejects with. */
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

/** Never rejects: a job that cannot be watched goes on all the same. */
async function showProgress(
  session: Session,
  domain: DomainRef,
  job: Promise<unknown>,
  ended: AbortSignal,
): Promise<void> {
  try {
    using client = await session.connect();
    const samples = await poll(client, domain, ended);
    const isDone = await job.then(
      () => true,
      () => false,
    );
    if (!samples) return;
    // Not every driver remembers.
    const completed = await client.getJobStats(domain, COMPLETED).catch(() => NOTHING_KNOWN);
    process.stderr.write(isDone ? `${CLEAR}${summaryLine(...samples, completed)}\n` : CLEAR);
  } catch {
    process.stderr.write(CLEAR);
  }
}

/** Resolves with the first and the last sample, or nothing where there never was memory to show. */
async function poll(
  client: RpcClient,
  domain: DomainRef,
  ended: AbortSignal,
): Promise<readonly [Sample, Sample] | undefined> {
  let samples: readonly [Sample, Sample] | undefined;
  while (!ended.aborted) {
    const sample = sampleOf(await client.getJobStats(domain, 0), performance.now());
    if (sample) {
      samples = [samples?.[0] ?? sample, sample];
      process.stderr.write(`${CLEAR}${progressLine(...samples, process.stderr.columns)}`);
    }
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
  return samples;
}

interface Interrupts extends Disposable {
  /** The abort under way, if there is one. */
  readonly aborting: Promise<void> | undefined;
}

/** The first Ctrl-C aborts the job, the second leaves at once. */
function onInterrupt(session: Session, domain: DomainRef, ended: AbortSignal): Interrupts {
  let aborting: Promise<void> | undefined;
  const interrupt = (): void => {
    if (aborting) session.leave();
    session.interrupted = true;
    session.note(
      `${process.stderr.isTTY ? CLEAR : ''}taking it back; a second Ctrl-C leaves at once, and the daemon goes on alone`,
    );
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

/** Waits for the job to have its turn, unless it ends by itself. Rejects where the daemon says that it is too late. */
async function abort(session: Session, domain: DomainRef, ended: AbortSignal): Promise<void> {
  using client = await session.connect();
  while (!ended.aborted) {
    const { type } = await client.getJobStats(domain, 0);
    if (type !== NO_JOB) return await client.abortJob(domain);
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
}
