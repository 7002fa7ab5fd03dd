/** Answers the calls about jobs: shows snapshot jobs as the qemu driver does. */

import { LibvirtError } from '../../errors.ts';
import { type DomainRef, isActive } from '../../model/domain.ts';
import { ABORT_JOB, allFlags, JOB_STATS, refuseUnknownFlags } from '../../model/flags.ts';
import { JOB_OPERATIONS } from '../../model/phases.ts';
import type { ActiveJob, CompletedJob, SnapshotApi } from '../../snapshots/api.ts';
import type { Decoded } from '../wire/codec.ts';
import { PROCEDURES as P } from '../wire/procedures.ts';
import type { TypedParam } from '../wire/typed-params.ts';
import { type Answers, answer } from './answers.ts';
import type { DomainApi } from './domain-api.ts';

type JobInfo = Decoded<typeof P.DOMAIN_GET_JOB_INFO.result>;
type JobStats = Decoded<typeof P.DOMAIN_GET_JOB_STATS.result>;

/** virDomainJobType: the qemu driver's jobs are all unbounded, because their totals may still grow. */
const TYPE = { NONE: 0, UNBOUNDED: 2, COMPLETED: 3 } as const;

const NO_NUMBERS = {
  timeElapsed: 0n,
  timeRemaining: 0n,
  dataTotal: 0n,
  dataProcessed: 0n,
  dataRemaining: 0n,
  memTotal: 0n,
  memProcessed: 0n,
  memRemaining: 0n,
  fileTotal: 0n,
  fileProcessed: 0n,
  fileRemaining: 0n,
} as const;

/** virDomainJobInfo. `data` is the sum of memory and disks; the disks have no progress of their own here. */
export function jobInfo(job: ActiveJob | undefined): JobInfo {
  if (!job) return { type: TYPE.NONE, ...NO_NUMBERS };
  const timeElapsed = elapsed(job);
  if (!job.progress) return { type: TYPE.UNBOUNDED, ...NO_NUMBERS, timeElapsed };
  const { total, done, remaining } = memory(job.progress);
  return {
    type: TYPE.UNBOUNDED,
    ...NO_NUMBERS,
    timeElapsed,
    dataTotal: total,
    dataProcessed: done,
    dataRemaining: remaining,
    memTotal: total,
    memProcessed: done,
    memRemaining: remaining,
  };
}

/** The same as VIR_DOMAIN_JOB_* parameters, with the operation. */
export function jobStats(job: ActiveJob | undefined): JobStats {
  if (!job) return { type: TYPE.NONE, params: [] };
  return { type: TYPE.UNBOUNDED, params: [...beginning(job, elapsed(job)), ...sizes(job)] };
}

/**
 * A job that has succeeded, with the time for which the guest was stopped, if known, and that of each phase: `destroy_time`.
 * libvirt has no parameters for phases; clients leave out those that they do not know.
 */
function completedStats(job: CompletedJob): JobStats {
  const pause = job.pause === undefined ? [] : [milliseconds('downtime', job.pause)];
  const phases = [...job.phases].map(([phase, ms]) => milliseconds(`${phase.replaceAll('-', '_')}_time`, ms));
  const params = [...beginning(job, elapsed(job, job.ended)), ...pause, ...sizes(job), ...phases];
  return { type: TYPE.COMPLETED, params };
}

/** Returns the running or the last completed job on the domain; undefined if there is no such job. */
export function knownStats(snapshots: SnapshotApi, { uuid }: DomainRef, flags: number): JobStats | undefined {
  if ((flags & JOB_STATS.COMPLETED) === 0) {
    const job = snapshots.job(uuid);
    return job && jobStats(job);
  }
  const done = snapshots.completedJob(uuid, (flags & JOB_STATS.KEEP_COMPLETED) !== 0);
  return done && completedStats(done);
}

function beginning({ operation }: Pick<ActiveJob, 'operation'>, time: bigint): readonly TypedParam[] {
  return [{ field: 'operation', type: 'int', value: JOB_OPERATIONS[operation] }, ullong('time_elapsed', time)];
}

function sizes({ progress }: Pick<ActiveJob, 'progress'>): readonly TypedParam[] {
  return progress ? ['data', 'memory'].flatMap((what) => sizesOf(what, progress)) : [];
}

function sizesOf(what: string, progress: NonNullable<ActiveJob['progress']>): readonly TypedParam[] {
  const { total, done, remaining } = memory(progress);
  return [ullong(`${what}_total`, total), ullong(`${what}_processed`, done), ullong(`${what}_remaining`, remaining)];
}

const ullong = (field: string, value: bigint): TypedParam => ({ field, type: 'ullong', value });

const milliseconds = (field: string, ms: number): TypedParam => ullong(field, BigInt(Math.round(ms)));

/** In milliseconds, at least 0: the clock may have been set back. */
const elapsed = ({ started }: Pick<ActiveJob, 'started'>, now = Date.now()): bigint =>
  BigInt(Math.max(0, now - started));

/** `done` may exceed the total, which was estimated from the RAM alone: device state is added to it. */
function memory({ done, total }: NonNullable<ActiveJob['progress']>) {
  return { total: BigInt(Math.max(total, done)), done: BigInt(done), remaining: BigInt(Math.max(0, total - done)) };
}

/** virDomainAbortJobFlags, refused as by the qemu driver: no job of ours is a migration. */
export function abortJob(job: ActiveJob | undefined, flags = 0): void {
  refuseUnknownFlags(flags, allFlags(ABORT_JOB), 'virDomainAbortJobFlags');
  if (flags & ABORT_JOB.POSTCOPY) {
    throw new LibvirtError('OPERATION_INVALID', 'current job is not outgoing migration in post-copy mode');
  }
  if (!job) throw new LibvirtError('OPERATION_INVALID', 'no job is active on the domain');
  job.cancel();
}

/** Answers if the domains are ours: with the running job, and with libvirt's own reply if none runs. */
export function jobAnswers(domains: DomainApi, snapshots: SnapshotApi): Answers {
  const jobOf = async (domain: DomainRef): Promise<ActiveJob | undefined> => {
    const found = await domains.domain(domain);
    const job = snapshots.job(domain.uuid);
    if (!job && !isActive(found)) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return job;
  };
  return new Map([
    answer(P.DOMAIN_GET_JOB_INFO, async ({ domain }) => jobInfo(await jobOf(domain))),
    answer(P.DOMAIN_GET_JOB_STATS, async ({ domain, flags }) => {
      refuseUnknownFlags(flags, allFlags(JOB_STATS), 'virDomainGetJobStats');
      await domains.domain(domain);
      const known = knownStats(snapshots, domain, flags);
      // Without a job, a domain that is off is refused.
      if (!known) await jobOf(domain);
      return known ?? jobStats(undefined);
    }),
    answer(P.DOMAIN_ABORT_JOB, async ({ domain }) => abortJob(await jobOf(domain))),
    answer(P.DOMAIN_ABORT_JOB_FLAGS, async ({ domain, flags }) => abortJob(await jobOf(domain), flags)),
  ]);
}
