/** The block jobs that run, each watched until it ends. A job belongs to its disk, not to the client that asked for it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { asLibvirtError, isLibvirtError } from '../../errors.ts';
import type { BlockJob, BlockJobEvent, BlockJobState } from '../../model/blocks/block-job.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';
import { withWayOut } from '../after-failure.ts';
import { moveDisks } from '../chains/move-disks.ts';
import type { SnapshotContext } from '../context.ts';
import { movesOf, settleJob } from './after-end.ts';
import type { BlockDevices, BlockJobEvents, BlockJobRecords } from './ports.ts';

const POLL_MS = 200;

/** The parts of the surroundings that block jobs need. */
export interface BlockJobParts {
  readonly devices: BlockDevices;
  readonly records: BlockJobRecords;
  readonly events: BlockJobEvents;
}

interface Ending {
  readonly outcome: 'completed' | 'failed' | 'canceled';
  readonly error?: string;
}

/** A job that runs. */
export interface RunningJob {
  readonly domain: Domain;
  readonly job: BlockJob;
  /** The last state that the device model has reported. */
  state: BlockJobState;
  /** Set once somebody cancels it. */
  aborting: boolean;
  /** Set while it is pivoted. */
  pivoting: Promise<void> | undefined;
  /** The job as it is recorded: with `pivot` once one has been begun. */
  recorded: BlockJob;
  /** Resolves when it has ended. Never rejects. */
  readonly ended: Promise<Ending>;
}

const BEGUN: BlockJobState = { state: 'running', done: 0, total: 0, speed: 0 };

/** All block jobs of all domains: one for each disk at most. */
export class RunningJobs implements AsyncDisposable {
  readonly #context: SnapshotContext;
  readonly #parts: BlockJobParts;
  readonly #jobs = new Map<string, RunningJob>();
  /** Of guests that have ended in a pivot that may have been done: they stay recorded. */
  readonly #undecided: { readonly uuid: string; readonly job: BlockJob }[] = [];
  readonly #closing = new AbortController();

  constructor(context: SnapshotContext, parts: BlockJobParts) {
    this.#context = context;
    this.#parts = parts;
  }

  of({ uuid }: DomainRef, disk: string): RunningJob | undefined {
    return this.#jobs.get(keyOf(uuid, disk));
  }

  /** Starts a job; it is recorded before. Call it while holding the domain's lock. */
  async start(domain: Domain, job: BlockJob, speed: number): Promise<void> {
    await this.#record(domain.ref, [...this.#of(domain.ref), job]);
    try {
      await this.#parts.devices.start(domain, job, speed);
    } catch (error) {
      await this.#record(domain.ref, this.#of(domain.ref));
      throw withWayOut(error, domain.ref);
    }
    this.#watch(domain, job);
  }

  /**
   * Watches the jobs of an earlier daemon again. A pivot that it had begun is finished, and the jobs of a guest that has ended
   * since are settled. A domain of which nobody can say whether it has jobs is refused until xlsnapd starts again, and its
   * record stays.
   */
  async resume(): Promise<void> {
    const { jobs: operations, log } = this.#context;
    for (const record of await this.#parts.records.load()) {
      try {
        if ('error' in record) throw record.error;
        const { domain: ref, jobs } = record;
        const domain = await this.#present(ref);
        for (const job of jobs) {
          if (domain?.ref.id === ref.id) await this.#resume(domain, job);
          else log(aboutJob({ domain: { ref }, job }, `its guest has ended; ${await this.#settled(ref, domain, job)}`));
        }
        await this.#record(ref, this.#of(ref));
      } catch (error) {
        const isRead = !('error' in record);
        const reason = isRead ? toAskAgain(error) : asLibvirtError(error).detail;
        log(reason);
        operations.holdDomain(isRead ? record.domain.uuid : record.uuid, reason);
      }
    }
  }

  /** Ends a mirror that is ready: the guest uses the other image from then on. Call it while holding the domain's lock. */
  async pivot(running: RunningJob): Promise<void> {
    const { domain, job } = running;
    if (job.kind !== 'active-commit' && job.kind !== 'copy') return;
    const pivot = async (): Promise<void> => {
      const pivoted: BlockJob = { ...job, pivot: true };
      running.recorded = pivoted;
      // From here on a daemon that is started again finishes the pivot.
      await this.#record(domain.ref, this.#of(domain.ref));
      await this.#finish(domain, pivoted);
    };
    running.pivoting = pivot();
    try {
      await running.pivoting;
    } catch (error) {
      // The job may be as it was: then it can be pivoted again.
      running.pivoting = undefined;
      throw error;
    }
  }

  /** Has the device model cancel the job. It has ended when `ended` resolves. */
  async abort(running: RunningJob): Promise<void> {
    running.aborting = true;
    const { domain, job } = running;
    await this.#parts.devices.cancel(domain, job).catch((error) => {
      throw withWayOut(error, domain.ref);
    });
  }

  /** Stops watching; the jobs themselves go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
  }

  #of({ uuid }: DomainRef): readonly BlockJob[] {
    const running = [...this.#jobs.values()].filter(({ domain }) => domain.ref.uuid === uuid);
    const undecided = this.#undecided.filter((each) => each.uuid === uuid);
    return [...running.map(({ recorded }) => recorded), ...undecided.map(({ job }) => job)];
  }

  async #resume(domain: Domain, job: BlockJob): Promise<void> {
    const { log } = this.#context;
    // A monitor that does not answer may have the job.
    const state = await this.#parts.devices.state(domain, job).catch(() => BEGUN);
    const isPivoted = 'pivot' in job && job.pivot === true;
    if (!state && !isPivoted) {
      log(`block job on disk '${job.disk}' of domain '${domain.ref.name}' has ended while xlsnapd did not run`);
      return;
    }
    const running = this.#watch(domain, job);
    if (isPivoted) this.pivot(running).catch((error) => log(aboutJob(running, asLibvirtError(error).detail)));
  }

  #watch(domain: Domain, job: BlockJob): RunningJob {
    let resolve: (ending: Ending) => void = () => {};
    const ended = new Promise<Ending>((done) => {
      resolve = done;
    });
    const running: RunningJob = {
      ...{ domain, job, state: BEGUN, aborting: false, pivoting: undefined, recorded: job, ended },
    };
    const { uuid } = domain.ref;
    this.#jobs.set(keyOf(uuid, job.disk), running);
    this.#context.jobs.holdDisk(uuid, job.disk, isMirror(job));
    const end = async (ending: Ending): Promise<void> => {
      this.#jobs.delete(keyOf(uuid, job.disk));
      this.#context.jobs.releaseDisk(uuid, job.disk);
      await this.#record(domain.ref, this.#of(domain.ref)).catch((error) =>
        this.#context.log(asLibvirtError(error).detail),
      );
      if (ending.error !== undefined) this.#context.log(aboutJob(running, ending.error));
      await this.#emit(running, ending.outcome).catch(() => {});
      resolve(ending);
    };
    void this.#follow(running).then(
      (ending) => ending && end(ending),
      (error) => end({ outcome: 'failed', error: asLibvirtError(error).detail }),
    );
    return running;
  }

  /** Undefined if the daemon stops first. */
  async #follow(running: RunningJob): Promise<Ending | undefined> {
    while (!this.#closing.signal.aborted) {
      if (running.pivoting && (await isFulfilled(running.pivoting))) return { outcome: 'completed' };
      const ending = running.pivoting ? undefined : await this.#advance(running);
      if (ending) return ending;
      await sleep(POLL_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    return undefined;
  }

  /** Looks at the job, and finishes it if it has succeeded. Undefined if it goes on. */
  async #advance(running: RunningJob): Promise<Ending | undefined> {
    const { domain, job } = running;
    const failed = running.aborting ? 'canceled' : 'failed';
    const state = await this.#look(running);
    // A pivot may have begun since.
    if (running.pivoting) return undefined;
    if (state === 'gone') return await this.#afterGuest(running);
    if (state === undefined) return { outcome: failed, error: 'the device model does not have it any more' };
    const wasReady = running.state.state === 'ready';
    running.state = state;
    if (state.state === 'ready' && !wasReady) await this.#emit(running, 'ready');
    if (state.state !== 'concluded') return undefined;
    if (state.error === undefined) {
      await this.#finish(domain, job);
      // A copy that is ready when it is cancelled concludes well.
      return { outcome: running.aborting ? 'canceled' : 'completed' };
    }
    await this.#parts.devices.dismiss(domain, job);
    return running.aborting ? { outcome: failed } : { outcome: failed, error: state.error };
  }

  async #settled(ref: DomainRef, now: Domain | undefined, job: BlockJob): Promise<string> {
    const settled = await settleJob(this.#context, ref, now, job);
    return settled === 'completed' ? 'it was completed' : 'it was given up: the disk is on the images that it was on';
  }

  /** The guest has ended, and its device model with it. */
  async #afterGuest({ domain: { ref }, recorded, aborting }: RunningJob): Promise<Ending> {
    const { jobs } = this.#context;
    try {
      const settled = await jobs.exclusive(ref, async () =>
        settleJob(this.#context, ref, await this.#present(ref), recorded),
      );
      if (settled === 'completed') return { outcome: 'completed' };
      return { outcome: aborting ? 'canceled' : 'failed' };
    } catch (error) {
      this.#undecided.push({ uuid: ref.uuid, job: recorded });
      const reason = toAskAgain(error);
      jobs.holdDomain(ref.uuid, reason);
      return { outcome: 'failed', error: reason };
    }
  }

  /** A monitor may be busy: then the state is asked for again. `gone`: the run of the domain has ended. */
  async #look({ domain, job, state }: RunningJob): Promise<BlockJobState | 'gone' | undefined> {
    try {
      return await this.#parts.devices.state(domain, job);
    } catch {
      const now = await this.#present(domain.ref).catch(() => domain);
      return now?.ref.id === domain.ref.id ? state : 'gone';
    }
  }

  /** Undefined if there is no such domain any more. */
  #present(ref: DomainRef): Promise<Domain | undefined> {
    return this.#context.host.lookup(ref).catch((error) => {
      if (isLibvirtError(error, 'NO_DOMAIN')) return undefined;
      throw error;
    });
  }

  /** Both definitions follow before the merged images may go. */
  async #finish(domain: Domain, job: BlockJob): Promise<void> {
    const { host, images } = this.#context;
    const moves = movesOf(job);
    await this.#parts.devices.finish(domain, job, async () => {
      await moveDisks(host, domain, 'live', moves);
      await moveDisks(host, domain, 'persistent', moves);
      if ('layer' in job && job.remove) await images.remove([job.layer.top, ...(job.layer.between ?? [])]);
    });
  }

  async #emit({ domain, job }: RunningJob, status: BlockJobEvent['status']): Promise<void> {
    const { images } = await this.#context.host.definition(domain, 'live');
    const path = images.get(job.disk)?.path ?? '';
    this.#parts.events.emitBlockJob(domain.ref, { disk: job.disk, path, kind: job.kind, status });
  }

  #record(ref: DomainRef, jobs: readonly BlockJob[]): Promise<void> {
    return this.#parts.records.write(ref, jobs);
  }
}

/** libvirt's kind of jobs that keep another image in step with the guest's writes. */
export function isMirror({ kind }: BlockJob): boolean {
  return kind === 'active-commit' || kind === 'copy';
}

function toAskAgain(error: unknown): string {
  return `${asLibvirtError(error).detail}; to ask again: systemctl restart xlsnapd`;
}

function isFulfilled(work: Promise<void>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

function aboutJob(
  { domain, job }: { readonly domain: Pick<Domain, 'ref'>; readonly job: BlockJob },
  text: string,
): string {
  return `block job on disk '${job.disk}' of domain '${domain.ref.name}': ${text}`;
}

function keyOf(uuid: string, disk: string): string {
  return `${uuid}/${disk}`;
}
