/** Runs a long call as a job: progress, and cancellation. */

import { setTimeout as delay } from 'node:timers/promises';
import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { Job, JobOptions, JobStats } from './api.ts';
import { jobStats } from './job-stats.ts';

/** Interval between two questions to the daemon. */
const POLL_MS = 250;
/** A job that is so much older than the call was begun by somebody else, whom this one waits for. */
const CLOCK_MS = 100;

/** The calls about a job. */
export type JobCalls = Pick<RpcClient, 'getJobStats' | 'abortJob'>;

/** Runs `work`, which is one call. An aborted signal is asked first: then nothing is sent. */
export function startJob<T>(
  rpc: JobCalls,
  domain: DomainRef,
  work: () => Promise<T>,
  { signal }: JobOptions = {},
): Job<T> {
  if (signal?.aborted) return refusedJob(cancelled(signal));
  const sent = performance.now();
  const ended = new AbortController();
  const ours = async (): Promise<JobStats | undefined> => {
    const stats = jobStats(await rpc.getJobStats(domain, 0));
    const isOlder = (stats.timeElapsed ?? 0) > performance.now() - sent + CLOCK_MS;
    return stats.type === 'none' || isOlder ? undefined : stats;
  };
  const cancel = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      if (await ours()) return await rpc.abortJob(domain);
      await delay(POLL_MS, undefined, { signal: ended.signal }).catch(() => {});
    }
  };
  // The job itself says how it ended, also if it could not be cancelled any more.
  const onAbort = (): void => void cancel().catch(() => {});
  signal?.addEventListener('abort', onAbort, { once: true });
  const result = work().finally(() => {
    ended.abort();
    signal?.removeEventListener('abort', onAbort);
  });
  return asJob(result, () => progressOf(result, ours, ended.signal), cancel);
}

function asJob<T>(result: Promise<T>, progress: () => AsyncIterator<JobStats>, cancel: () => Promise<void>): Job<T> {
  return Object.assign(result, { cancel, [Symbol.asyncIterator]: progress });
}

function cancelled({ reason }: AbortSignal): LibvirtError {
  return new LibvirtError('OPERATION_ABORTED', 'cancelled before it began', { cause: reason });
}

async function* progressOf<T>(
  result: Promise<T>,
  ours: () => Promise<JobStats | undefined>,
  ended: AbortSignal,
): AsyncGenerator<JobStats> {
  // From here on somebody waits for the result: this iteration, which throws its error below.
  result.catch(() => {});
  while (!ended.aborted) {
    // A daemon that does not report progress, or does not any more, still does the job.
    const stats = await ours().catch(() => undefined);
    if (stats && !ended.aborted) yield stats;
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
  await result;
}

function refusedJob(error: LibvirtError): Job<never> {
  const result = Promise.reject(error);
  return asJob(
    result,
    () => progressOf(result, async () => undefined, AbortSignal.abort()),
    async () => {},
  );
}
