/** One operation at a time per domain. A job belongs to the domain, not to the client that asked for it. */

import { setTimeout } from 'node:timers/promises';
import { LibvirtError, throwIfCancelled } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { Operation } from '../model/phases.ts';
import { withWayOut } from './after-failure.ts';
import type { Job, JobProgress, Task } from './ports/jobs.ts';
import type { Journal } from './ports/journal.ts';

/** How long an operation waits for the one before it: libvirt's own limit (QEMU_JOB_WAIT_TIME). */
const JOB_WAIT_MS = 30_000;

/** A running job as others see it. */
export interface ActiveJob {
  readonly operation: Operation;
  readonly snapshot: string;
  /** Milliseconds since the epoch. */
  readonly started: number;
  readonly phase: string;
  readonly progress: JobProgress | undefined;
  /** Refuses (55) if the job is past its point of no return. */
  cancel(): void;
}

/** A job that has succeeded. */
export interface CompletedJob extends Pick<ActiveJob, 'operation' | 'started' | 'progress'> {
  /** Milliseconds since the epoch. */
  readonly ended: number;
  /** How long the guest was stopped, in milliseconds; undefined if that is not known. */
  readonly pause: number | undefined;
  /** How long each phase took, in milliseconds, in the order in which they began. */
  readonly phases: ReadonlyMap<string, number>;
}

/** A job as its operation uses it. Hosts, which do parts of the work, get the Job. */
export interface OperationJob extends Job {
  /** The point of no return: throws if the job has been cancelled; afterwards it cannot be cancelled. */
  commit(): void;
  /** Reports how long the guest was stopped, in milliseconds. */
  paused(ms: number): void;
}

/** As in libvirt's "job 'snapshot' canceled by client" (qemuMigrationJobName). */
const NAMES: Readonly<Record<Operation, string>> = {
  create: 'snapshot',
  revert: 'snapshot revert',
  delete: 'snapshot delete',
  redefine: 'snapshot redefine',
};

/** Reported at each phase, at each progress, and at the job's end, with `phase` `completed` or `failed`. */
export interface JobReport extends Pick<ActiveJob, 'operation' | 'snapshot' | 'phase' | 'progress'> {
  readonly ended: boolean;
}

interface Running extends ActiveJob {
  phase: string;
  progress: JobProgress | undefined;
  pause: number | undefined;
  stop(): void;
}

/** The jobs of all domains: at most one per domain runs, the others wait. */
export class Jobs implements AsyncDisposable {
  readonly #journal: Journal;
  readonly #waitMs: number;
  readonly #tails = new Map<string, Promise<void>>();
  readonly #running = new Map<string, Running>();
  /** The last completed job of each domain, until a client has read it. */
  readonly #completed = new Map<string, CompletedJob>();
  readonly #listeners: ((domain: DomainRef, job: JobReport) => void)[] = [];
  readonly #closing = new AbortController();
  /** Disks with a block job, by domain: true if the job is one that stays until it is ended. */
  readonly #busyDisks = new Map<string, Map<string, boolean>>();
  /** Domains of which nobody can say which disks have block jobs, and why, by UUID. */
  readonly #unknown = new Map<string, string>();

  /** `waitMs`: how long an operation waits for its turn. */
  constructor(journal: Journal, waitMs = JOB_WAIT_MS) {
    this.#journal = journal;
    this.#waitMs = waitMs;
  }

  /** Calls back with the reports of all jobs. */
  onReport(listener: (domain: DomainRef, job: JobReport) => void): void {
    this.#listeners.push(listener);
  }

  /** The job that runs on this domain now. */
  active(uuid: string): ActiveJob | undefined {
    return this.#running.get(uuid);
  }

  /** Returns the last job that has succeeded, once; with `keep` again at the next call. */
  completed(uuid: string, keep: boolean): CompletedJob | undefined {
    const job = this.#completed.get(uuid);
    if (!keep) this.#completed.delete(uuid);
    return job;
  }

  /**
   * Runs `work` when the domain is free. Its journal entry is on disk before it starts and gone when it has ended.
   * Rejects with OPERATION_TIMEOUT when the domain is not free within 30 s.
   */
  run<T>(domain: DomainRef, task: Task, work: (job: OperationJob) => Promise<T>): Promise<T> {
    return this.exclusive(domain, () => this.#execute(domain, task, work));
  }

  /**
   * Runs `work` while holding the domain's lock, without showing up as a job in domjobinfo. Its signal is aborted when
   * xlsnapd stops.
   */
  async exclusive<T>(domain: DomainRef, work: (stopping: AbortSignal) => Promise<T>): Promise<T> {
    const before = this.#tails.get(domain.uuid) ?? Promise.resolve();
    let release = () => {};
    const done = new Promise<void>((resolve) => {
      release = resolve;
    });
    const tail = before.then(() => done);
    this.#tails.set(domain.uuid, tail);
    try {
      await this.#turn(domain, before);
      return await work(this.#closing.signal);
    } finally {
      release();
      // Not before the operations ahead have ended: one that gave up waiting must not open the domain to the next.
      void tail.then(() => {
        if (this.#tails.get(domain.uuid) === tail) this.#tails.delete(domain.uuid);
      });
    }
  }

  /** Keeps other operations from a disk while a block job works on it. `mirror`: the job stays until somebody ends it. */
  holdDisk(uuid: string, disk: string, mirror: boolean): void {
    const disks = this.#busyDisks.get(uuid) ?? new Map<string, boolean>();
    this.#busyDisks.set(uuid, disks.set(disk, mirror));
  }

  /** Keeps other operations from all disks of a domain, until xlsnapd starts again. `reason`: why its block jobs are not known. */
  holdDomain(uuid: string, reason: string): void {
    this.#unknown.set(uuid, reason);
  }

  releaseDisk(uuid: string, disk: string): void {
    const disks = this.#busyDisks.get(uuid);
    disks?.delete(disk);
    if (disks?.size === 0) this.#busyDisks.delete(uuid);
  }

  /** Refuses a disk with a block job, in the qemu driver's words (qemuDomainDiskBlockJobIsActive). */
  refuseBusyDisks(uuid: string, disks: readonly string[]): void {
    this.#refuseUnknown(uuid);
    const busy = this.#busyDisks.get(uuid);
    const disk = disks.find((each) => busy?.has(each));
    if (disk === undefined) return;
    const code = busy?.get(disk) ? 'BLOCK_COPY_ACTIVE' : 'OPERATION_UNSUPPORTED';
    throw new LibvirtError(code, `disk '${disk}' already in active block job`);
  }

  /** Refuses a domain of which any disk has a block job. */
  refuseBlockJobs(uuid: string): void {
    this.#refuseUnknown(uuid);
    if (this.#busyDisks.has(uuid)) throw new LibvirtError('OPERATION_INVALID', 'domain has active block job');
  }

  /** Cancels running jobs, refuses waiting ones, and resolves when all have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new LibvirtError('OPERATION_ABORTED', 'xlsnapd is stopping'));
    for (const job of this.#running.values()) job.stop();
    await Promise.all(this.#tails.values());
  }

  #refuseUnknown(uuid: string): void {
    const reason = this.#unknown.get(uuid);
    if (reason === undefined) return;
    throw new LibvirtError('OPERATION_INVALID', `nobody knows which block jobs the domain has: ${reason}`);
  }

  async #turn(domain: DomainRef, before: Promise<void>): Promise<void> {
    const waiting = new AbortController();
    const late = setTimeout(this.#waitMs, 'late', { signal: waiting.signal }).catch(() => {});
    const first = await Promise.race([before, late]);
    waiting.abort();
    if (this.#closing.signal.aborted)
      throw new LibvirtError(
        'OPERATION_ABORTED',
        `xlsnapd is stopping: nothing was done to domain '${domain.name}', ask again`,
      );
    if (first !== 'late') return;
    const held = this.#running.get(domain.uuid);
    const holder = held ? ` (held by ${held.operation} of snapshot '${held.snapshot}')` : '';
    throw new LibvirtError('OPERATION_TIMEOUT', `cannot acquire state change lock on domain '${domain.name}'${holder}`);
  }

  async #execute<T>(domain: DomainRef, task: Task, work: (job: OperationJob) => Promise<T>): Promise<T> {
    const { operation, snapshot } = task;
    const abort = new AbortController();
    let committed = false;
    const end = (how: string): void =>
      abort.abort(new LibvirtError('OPERATION_ABORTED', `job '${NAMES[operation]}' canceled ${how}`));
    const running: Running = {
      operation,
      snapshot,
      started: Date.now(),
      phase: 'begun',
      progress: undefined,
      pause: undefined,
      cancel: () => {
        if (committed) throw tooLate(domain, operation, snapshot);
        end('by client');
      },
      stop: () => end('since xlsnapd is stopping'),
    };
    const entry = await this.#journal.begin(domain, task);
    this.#running.set(domain.uuid, running);
    // Disposing has cancelled the others while this job's record was being written.
    if (this.#closing.signal.aborted) running.stop();
    const phases = new Map<string, number>();
    let since = performance.now();
    const endPhase = (): void => {
      const now = performance.now();
      phases.set(running.phase, (phases.get(running.phase) ?? 0) + now - since);
      since = now;
    };
    const report = (ended = false): void => {
      const { phase, progress } = running;
      for (const listener of this.#listeners) listener(domain, { operation, snapshot, phase, progress, ended });
    };
    try {
      const result = await work({
        signal: abort.signal,
        phase: async (name) => {
          endPhase();
          running.phase = name;
          await entry.phase(name);
          report();
        },
        plan: (args, abandoned) => entry.plan(args, abandoned),
        definition: (xml) => entry.definition(xml),
        progress: (progress) => {
          running.progress = progress;
          report();
        },
        commit: () => {
          throwIfCancelled(abort.signal);
          committed = true;
        },
        paused: (ms) => {
          running.pause = ms;
        },
      });
      endPhase();
      running.phase = 'completed';
      const { started, progress, pause } = running;
      this.#completed.set(domain.uuid, { operation, started, progress, pause, phases, ended: Date.now() });
      return result;
    } catch (error) {
      running.phase = 'failed';
      throw withWayOut(error, domain);
    } finally {
      this.#running.delete(domain.uuid);
      await entry.end();
      report(true);
    }
  }
}

function tooLate({ name }: DomainRef, operation: Operation, snapshot: string): LibvirtError {
  const text = `cannot abort job '${NAMES[operation]}' of domain '${name}': the ${operation} of '${snapshot}' has gone too far`;
  return new LibvirtError('OPERATION_INVALID', text);
}
