/**
 * What a program gets from `connect`: libvirt's objects and functions by libvirt's names, without pointers and bits. Every
 * function rejects with a LibvirtError only. Objects are handles: they hold no state of the domain or snapshot that they name.
 */

import type { DaemonStatus } from '../model/daemon-status.ts';
import type { DomainState } from '../model/domain.ts';

/** How a connection is made. */
export interface ConnectOptions {
  /** May look, and change nothing. */
  readonly readOnly?: boolean;
  /** Ends the connection when aborted, also one that is being made. */
  readonly signal?: AbortSignal;
}

/** A connection to xlsnapd or libvirtd. It is never made again: when it is lost, connect again, and look domains up again. */
export interface Connection extends AsyncDisposable {
  /** The URI as given. */
  readonly uri: string;
  /** Aborted when the connection has ended; its `reason` is the LibvirtError if it was lost. */
  readonly closed: AbortSignal;
  /** `Xen`, `QEMU`, `TEST` (virConnectGetType). */
  getType(): Promise<string>;
  /** Returns how xlsnapd serves; undefined if libvirtd itself answers. */
  daemonStatus(): Promise<DaemonStatus | undefined>;
  /** Without a filter, or with both, all domains. */
  listAllDomains(filter?: { readonly active?: boolean; readonly inactive?: boolean }): Promise<readonly Domain[]>;
  /** NO_DOMAIN if there is none. */
  lookupByName(name: string): Promise<Domain>;
  lookupByUUID(uuid: string): Promise<Domain>;
  lookupByID(id: number): Promise<Domain>;
  /**
   * Returns the events from now on. The iteration ends when the connection is closed or the signal aborted. It throws if the
   * connection is lost (RPC), or if 10,000 events wait to be read (OVERFLOW).
   */
  events(options?: { readonly signal?: AbortSignal }): Promise<AsyncIterableIterator<DomainEvent>>;
}

/** A domain. Its name and id are those of the moment when it was looked up; every call goes by its UUID. */
export interface Domain {
  readonly name: string;
  readonly uuid: string;
  /** -1 if it was not active. */
  readonly id: number;
  /** `reason`: libvirt's number of virDomainRunningReason, virDomainPausedReason and so on. */
  getState(): Promise<{ readonly state: DomainState; readonly reason: number }>;
  isPersistent(): Promise<boolean>;
  /** Returns the definition. `secure`: passwords too. */
  getXMLDesc(options?: { readonly secure?: boolean; readonly inactive?: boolean }): Promise<string>;
  /** Starts it, and returns it with its new id. */
  create(options?: { readonly paused?: boolean }): Promise<Domain>;
  /** Asks the guest to shut down; an event says when it has. */
  shutdown(): Promise<void>;
  destroy(): Promise<void>;
  suspend(): Promise<void>;
  resume(): Promise<void>;

  /** Takes a snapshot, of a document of the caller's or of what virsh's snapshot-create-as asks for. */
  snapshotCreate(request?: SnapshotRequest, options?: JobOptions): Job<Snapshot>;
  /**
   * Refuses what `snapshotCreate` would refuse, and returns the document of the snapshot that it would take. Nothing is changed.
   * Only xlsnapd can (NO_SUPPORT).
   */
  snapshotCheck(request?: SnapshotRequest): Promise<string>;
  /** Snapshots that pass every part of the filter; parents before children with `topological`. */
  listAllSnapshots(filter?: SnapshotFilter): Promise<readonly Snapshot[]>;
  /** NO_DOMAIN_SNAPSHOT if there is none. */
  snapshotLookupByName(name: string): Promise<Snapshot>;
  /** Undefined if no snapshot is the current one. */
  snapshotCurrent(): Promise<Snapshot | undefined>;

  /** Returns the domain's job, with type `none` if there is none. */
  getJobStats(): Promise<JobStats>;
  /** Returns the last completed job. It stays for others to read. */
  getCompletedJobStats(): Promise<JobStats>;
  abortJob(): Promise<void>;

  /** Begins to merge images of the disk (a target, or a path) downwards; blockJobProgress says how far it is. */
  blockCommit(disk: string, options?: BlockCommitOptions): Promise<void>;
  /** Begins to copy what the images below have into the active one: all of them, or those above `base`. */
  blockPull(disk: string, options?: BlockPullOptions): Promise<void>;
  /** Undefined if the disk has no job. */
  getBlockJobInfo(disk: string): Promise<BlockJobInfo | undefined>;
  /** Yields until the job has ended, or has copied everything and waits to be ended (`cur` equals `end`). */
  blockJobProgress(disk: string, options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<BlockJobInfo>;
  /** Cancels the job; with `pivot` ends one that has copied everything, with the base as the active image. */
  blockJobAbort(disk: string, options?: { readonly pivot?: boolean; readonly async?: boolean }): Promise<void>;
  /** Bytes a second; 0: unlimited. */
  blockJobSetSpeed(disk: string, bandwidth: number): Promise<void>;
}

/** A snapshot. */
export interface Snapshot {
  readonly name: string;
  readonly domain: Domain;
  /** Returns the `<domainsnapshot>`. `secure`: passwords too. */
  getXMLDesc(options?: { readonly secure?: boolean }): Promise<string>;
  /** Undefined if it has none. */
  getParent(): Promise<Snapshot | undefined>;
  /** Children; with `descendants` theirs, too. */
  listAllChildren(
    filter?: Omit<SnapshotFilter, 'roots'> & { readonly descendants?: boolean },
  ): Promise<readonly Snapshot[]>;
  numChildren(options?: { readonly descendants?: boolean }): Promise<number>;
  isCurrent(): Promise<boolean>;
  hasMetadata(): Promise<boolean>;
  revert(request?: RevertRequest, options?: JobOptions): Job<void>;
  delete(request?: DeleteRequest, options?: JobOptions): Job<void>;
}

/** The options of virsh's snapshot-create. */
export interface CreateFlags {
  /** Takes none: makes one known again from a document that has everything. */
  readonly redefine?: boolean;
  /** With `redefine`: makes it the current one. */
  readonly current?: boolean;
  readonly noMetadata?: boolean;
  readonly halt?: boolean;
  readonly diskOnly?: boolean;
  readonly reuseExternal?: boolean;
  readonly quiesce?: boolean;
  readonly atomic?: boolean;
  readonly live?: boolean;
  readonly validate?: boolean;
}

/** Which snapshot to take: the options of virsh's snapshot-create-as, or a `<domainsnapshot>`. Default: name and parts by libvirt's rules. */
export type SnapshotRequest = CreateFlags & (SnapshotParts | { readonly xml: string });

/** The parts of a `<domainsnapshot>` that snapshot-create-as has options for. */
export interface SnapshotParts {
  readonly xml?: never;
  readonly name?: string;
  readonly description?: string;
  /** virsh's --memspec. */
  readonly memory?: { readonly snapshot?: 'no' | 'internal' | 'external'; readonly file?: string };
  /** virsh's --diskspec, one for each disk. */
  readonly disks?: readonly SnapshotDisk[];
}

/** How one disk is captured. */
export interface SnapshotDisk {
  /** Its target, `xvda`. */
  readonly name: string;
  readonly snapshot?: 'no' | 'internal' | 'external' | 'manual';
  /** The format of the overlay. */
  readonly driver?: string;
  /** The kind of `file`; default `file`. */
  readonly stype?: 'file' | 'block';
  /** The overlay. */
  readonly file?: string;
}

/** The filters of virsh's snapshot-list: those of one line are joined by "or", the lines by "and". */
export interface SnapshotFilter {
  readonly roots?: boolean;
  readonly leaves?: boolean;
  readonly noLeaves?: boolean;
  readonly metadata?: boolean;
  readonly noMetadata?: boolean;
  readonly inactive?: boolean;
  readonly active?: boolean;
  readonly diskOnly?: boolean;
  readonly internal?: boolean;
  readonly external?: boolean;
  readonly topological?: boolean;
}

/** The options of virsh's snapshot-revert. */
export interface RevertRequest {
  readonly running?: boolean;
  readonly paused?: boolean;
  /** Asks once more, with force, if the revert is refused as risky (SNAPSHOT_REVERT_RISKY). */
  readonly force?: boolean;
  readonly resetNvram?: boolean;
}

/** The options of virsh's snapshot-delete. */
export interface DeleteRequest {
  readonly children?: boolean;
  readonly childrenOnly?: boolean;
  /** Forgets the snapshot and keeps its data. */
  readonly metadataOnly?: boolean;
}

/** How a job may be cancelled. */
export interface JobOptions {
  /** Calls the job's `cancel` when aborted. If it is too late for that, the job succeeds. */
  readonly signal?: AbortSignal;
}

/**
 * A job on a domain: its result as a promise, and its progress as an iteration, which asks four times a second, ends with the
 * job and throws its error. Nobody has to iterate. A job belongs to the daemon: it goes on if the connection is lost.
 */
export interface Job<T> extends Promise<T>, AsyncIterable<JobStats> {
  /** The job is undone, and rejects with OPERATION_ABORTED. Rejects (OPERATION_INVALID) if it has gone too far. */
  cancel(): Promise<void>;
}

/** virDomainJobOperation. */
export type JobOperation =
  | 'unknown'
  | 'start'
  | 'save'
  | 'restore'
  | 'migration-in'
  | 'migration-out'
  | 'snapshot'
  | 'snapshot-revert'
  | 'dump'
  | 'backup'
  | 'snapshot-delete';

/** A domain's job. What the daemon does not report is absent. */
export interface JobStats {
  readonly type: 'none' | 'bounded' | 'unbounded' | 'completed' | 'failed' | 'cancelled';
  readonly operation?: JobOperation;
  /** Milliseconds. */
  readonly timeElapsed?: number;
  /** Bytes; absent while no memory is written. */
  readonly memoryTotal?: number;
  readonly memoryProcessed?: number;
  readonly memoryRemaining?: number;
  /** How long the guest was stopped, in milliseconds. Of completed jobs only. */
  readonly downtime?: number;
  /** The phases that the job went through, with the milliseconds of each: `destroy`, `disks`, `restore`. Of completed jobs only. */
  readonly phases?: Readonly<Record<string, number>>;
}

/** The options of virsh's blockcommit. */
export interface BlockCommitOptions {
  /** The image that is merged into; default: the lowest of the chain. */
  readonly base?: string;
  /** The highest image that is merged; default: the active one. */
  readonly top?: string;
  /** Merges into the next image below `top`. */
  readonly shallow?: boolean;
  /** Required if `top` is the active image. */
  readonly active?: boolean;
  /** Removes the merged images. */
  readonly delete?: boolean;
  /** Bytes a second; default: unlimited. */
  readonly bandwidth?: number;
}

/** The options of virsh's blockpull. */
export interface BlockPullOptions {
  readonly base?: string;
  /** Bytes a second; default: unlimited. */
  readonly bandwidth?: number;
}

/** A kind of block job (virDomainBlockJobType). */
export type BlockJobType = 'unknown' | 'pull' | 'copy' | 'commit' | 'active-commit' | 'backup';

/** virDomainBlockJobInfo. */
export interface BlockJobInfo {
  readonly type: BlockJobType;
  /** Bytes a second; 0: unlimited. */
  readonly bandwidth: number;
  /** How much is done, and of how much: equal when all is copied. Their unit is the job's own. */
  readonly cur: number;
  readonly end: number;
}

/** Something that has happened to a domain. */
export type DomainEvent = LifecycleEvent | BlockJobEvent;

/** virConnectDomainEventCallback of VIR_DOMAIN_EVENT_ID_LIFECYCLE, in virsh's words: `started` and `from-snapshot`. */
export interface LifecycleEvent {
  readonly kind: 'lifecycle';
  readonly domain: Domain;
  readonly event:
    | 'defined'
    | 'undefined'
    | 'started'
    | 'suspended'
    | 'resumed'
    | 'stopped'
    | 'shutdown'
    | 'pmsuspended'
    | 'crashed'
    | 'unknown';
  /** Such as `booted`, `destroyed`, `from-snapshot`; `unknown` if a newer libvirtd has one that is not known here. */
  readonly detail: string;
}

/** The end of a block job, or of its copying (VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2). */
export interface BlockJobEvent {
  readonly kind: 'block-job';
  readonly domain: Domain;
  /** The target, `xvda`. */
  readonly disk: string;
  readonly type: BlockJobType;
  readonly status: 'completed' | 'failed' | 'canceled' | 'ready' | 'unknown';
}
