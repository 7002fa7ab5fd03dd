/**
 * The interfaces that the policy needs. They are declared here, where they are used; hosts, disks and store implement
 * them, and the daemon connects them.
 */

import type { LibvirtError } from '../errors.ts';
import type { MechanismName } from '../model/daemon-status.ts';
import type { BackingChain, DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { Domain, DomainDefinition, DomainDisk, DomainRef, StartFile, StorageVolume } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { Operation, Phase } from '../model/phases.ts';
import type { SnapshotDef, SnapshotEntry, TieState } from '../model/snapshot.ts';

/**
 * Progress of a job, for virsh domjobinfo and people. Bytes of the memory image; `total` is an estimate until the end.
 */
export interface JobProgress {
  readonly done: number;
  readonly total: number;
}

/** A running operation: reports its progress, and asks whether it is cancelled. */
export interface Job {
  /** Aborted when the client cancels or the daemon stops; honoured until the point of no return. */
  readonly signal: AbortSignal;
  /** Records a phase durably before it starts. The operation waits for it. */
  phase(name: Phase): Promise<void>;
  /** Records durably what is about to be made, so that it can be undone after a crash, and what will be left over. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  /** Records durably the definition of a guest that is about to be saved and off: after a crash it comes back with that. */
  definition(xml: string): Promise<void>;
  progress(progress: JobProgress): void;
}

/** What a merge reports to its operation. */
export interface MergeJob extends Pick<Job, 'signal' | 'progress'> {
  /** What named the layer names its base when this has resolved, and the layer is removed. */
  merged(layer: LayerCommit): Promise<void>;
}

/** The owner of the domains: an upstream libvirtd, or the embedded host. Domains are found by their UUID. */
export interface Host {
  /** Returns the domain as it is now. NO_DOMAIN if none has this UUID. */
  lookup(ref: DomainRef): Promise<Domain>;

  /** All domains, for loading stored snapshots at start-up. */
  list(): Promise<readonly Domain[]>;

  /**
   * Returns libvirt's definition in inactive format, passwords included: `live` as the domain runs now, `persistent` as
   * it would start next. For an inactive domain both are the same.
   */
  definition(domain: Domain, which: 'live' | 'persistent'): Promise<DomainDefinition>;

  /** Returns the path of a volume; a name that is no absolute path if it is not on this host. Rejects if nobody knows it. */
  volumePath(volume: StorageVolume): Promise<string>;

  /**
   * Refuses, with code and reason, everything that `save` could not do, also if space for the memory image is missing.
   * Changes nothing.
   */
  checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void>;

  /**
   * Saves memory and disks of an active domain at one point in time. Afterwards the domain runs as before and its owner
   * still watches it. After an error nothing is left, neither file nor disk snapshot, and the guest runs; or the
   * message says what is left.
   */
  save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot>;

  /**
   * Resolves when the domain's owner has finished every job on the domain that an earlier daemon, or another client,
   * has started. Calls `waiting` once if it has to wait.
   */
  idle(ref: DomainRef, options: { readonly signal: AbortSignal; waiting(): void }): Promise<void>;

  /**
   * Called after a crash of xlsnapd: makes a domain that an interrupted operation may have left stopped run again as
   * before, watched by its owner. Idempotent; does nothing to a domain that runs. A transient one that is gone is
   * passed as off.
   */
  recover(domain: Domain, interrupted: Interruption): Promise<void>;

  /** Deletes the internal snapshot `name` from the images of an active domain, through its device model. */
  deleteDiskSnapshots(domain: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;

  /** Refuses layers of an active domain, none of which is another's base, that `commit` could not merge. Reads only. */
  checkCommit(domain: Domain, layers: readonly LayerCommit[]): Promise<void>;

  /** OfflineDisks.commit for an active domain, which runs on the base by the time `merged` is called. */
  commit(domain: Domain, layers: readonly LayerCommit[], job: MergeJob): Promise<void>;

  /**
   * Records new active images of disks (by target, `xvda`): in the `persistent` definition, or in the `live` one as
   * every client sees it, if the device model uses them already. Clients get no event.
   */
  setDisks(domain: Domain, images: ReadonlyMap<string, DiskImage>, which: 'live' | 'persistent'): Promise<void>;

  /**
   * Refuses, while the old domain still runs, everything that `restore` could not read, and a memory image whose disks
   * have changed since the snapshot was taken.
   */
  checkRestore(domain: Domain, memory: SavedMemory, definition: DomainDefinition): Promise<void>;

  /**
   * Refuses (OPERATION_INVALID) if the host lacks the memory to start the domain from `definition`, and from this memory
   * image if one is given: with what the domain itself has now, which ends before. Accepts if that cannot be known.
   */
  checkMemory(domain: Domain, definition: DomainDefinition, memoryPath?: string): Promise<void>;

  /**
   * Refuses (OPERATION_INVALID, with the way out) a definition of which the host lacks something besides files and memory:
   * bridges, networks, devices, the kind of guest. Accepts what cannot be known.
   */
  checkParts(definition: DomainDefinition): Promise<void>;

  /** Renews the tie of a memory image after the contents of its disks have moved, unchanged, to other images. */
  retie(memory: SavedMemory): Promise<void>;

  /** What the images that a memory image names hold of its snapshot. Never rejects. Reads only. */
  tieState(memory: Pick<SavedMemory, 'path' | 'name'>): Promise<TieState>;

  /**
   * Freezes the guest's file systems by its agent until disposed of. ARGUMENT_UNSUPPORTED (74) if the domain has no
   * agent.
   */
  freeze(domain: Domain): Promise<AsyncDisposable>;

  /** Ends an active domain at once, so that its disks can be replaced. Clients see STOPPED/FROM_SNAPSHOT. */
  destroy(domain: Domain): Promise<void>;

  /**
   * Starts a domain from a memory image, owned as the old one was. `definition` replaces the one in the image: name and
   * disks may have changed. Clients see STARTED/FROM_SNAPSHOT, then RESUMED/FROM_SNAPSHOT or, with `paused`,
   * SUSPENDED/FROM_SNAPSHOT.
   */
  restore(
    domain: Domain,
    memoryPath: string,
    options: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void>;

  /** Makes `definition` the persistent one. Clients get no event: the caller emits one if they should. */
  define(definition: DomainDefinition): Promise<void>;

  /**
   * Boots an inactive domain from `definition`, which is the persistent one if it has one. Clients see RESUMED/UNPAUSED
   * and STARTED/FROM_SNAPSHOT, as from the qemu driver; with `paused` STARTED/FROM_SNAPSHOT and
   * SUSPENDED/FROM_SNAPSHOT.
   */
  start(domain: Domain, options: { readonly paused: boolean; readonly definition: DomainDefinition }): Promise<void>;

  /** Calls back when a domain has gone for good (undefined, or a transient one that ended). */
  onGone(listener: (ref: DomainRef) => void): void;

  /** Calls back when a domain was renamed; its UUID stays. */
  onRenamed(listener: (ref: DomainRef) => void): void;
}

/** A snapshot's memory image, and the disks that were captured with it. */
export interface SavedMemory {
  readonly path: string;
  /** The snapshot's name. */
  readonly name: string;
  readonly disks: readonly LibxlDiskSnapshot[];
}

/**
 * How far an operation had got: the last phase that it recorded, and the path of the snapshot's memory image, if it has
 * or was to have one.
 */
export interface Interruption {
  readonly operation: Operation;
  readonly phase: Phase;
  /** What the interrupted daemon saved guests by; undefined in records from before that was recorded. */
  readonly mechanism?: MechanismName;
  readonly memoryPath?: string;
  /** The guest's definition when it was saved, if that was recorded. */
  readonly definition?: string;
}

/** An internal snapshot of one disk, by its name. */
export type InternalSnapshot = Pick<LibxlDiskSnapshot, 'disk'> & { readonly name: string };

/** Snapshots of the images of a domain that is not active: internal ones, and overlays (`external`). */
export interface OfflineDisks {
  /**
   * Makes internal snapshots and new overlays, all or nothing: after a failure, those that were made are removed again.
   * `open`: the images that the domain's own device model has open now; overlays may be made on these, too.
   */
  create(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
  /**
   * Refuses (OPERATION_FAILED) a name that a snapshot in one of the images has already. Refuses, with libvirt's code
   * and text, an overlay's file that exists already, or that is missing with `external_reuse`. Reads only.
   */
  checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /**
   * Reverts disks to internal snapshots: after an error all of them hold what they held before, or the message says which are
   * reverted. Idempotent.
   */
  apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /**
   * After an `apply` that was cut off between several disks: all of them hold again what they held before it, or if that
   * cannot be, all are reverted. Undefined if they are at one moment already.
   */
  settleApply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<'undone' | 'completed' | undefined>;
  /**
   * Refuses internal snapshots that `delete`, or the domain's device model, could not delete; accepts those that are gone.
   * `open`: the images that the device model has open. Reads only.
   */
  checkDelete(doomed: readonly InternalSnapshot[], open: ReadonlySet<string>): Promise<void>;
  /** Deletes internal snapshots. Skips those that are already gone. */
  delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /**
   * Refuses (55, naming disk and file) a disk whose image is missing, lacks the internal snapshot, has a broken backing
   * chain, or is in use by somebody else. `open`: the images that the domain's own device model has open now. Reads
   * only.
   */
  check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
  /** Refuses (55, naming disk and file system or group) if there is no room for what `apply` makes. Reads only. */
  checkApply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /** Refuses (55, naming the file and its device) files that a start of the domain could not open. Reads only. */
  checkStart(files: readonly StartFile[]): Promise<void>;
  /**
   * Merges one layer after the other into its base, and calls `merged`. An active image that is merged shows its base's
   * contents until it is removed. Idempotent: a layer whose file is gone or empty is done.
   */
  commit(layers: readonly LayerCommit[], job: MergeJob): Promise<void>;
  /**
   * Refuses layers, in the order in which they will be merged, that `commit` could not merge. `open`: the images that the
   * domain's own device model has open now. Reads only.
   */
  checkMerge(layers: readonly LayerCommit[], open: ReadonlySet<string>): Promise<void>;
  /** Refuses images that `rebase` could not change. `open` as for `checkMerge`. Reads only. */
  checkRebase(images: readonly DiskImage[], open: ReadonlySet<string>): Promise<void>;
  /**
   * Refuses images that `remove` could not remove, or that somebody has open: not the domain's own device model, which has
   * those of `open` open now, and no longer then. Accepts missing ones. Reads only.
   */
  checkRemoval(images: readonly DiskImage[], open: ReadonlySet<string>): Promise<void>;
  /** True if the overlay is there and holds nothing, as after a merge. Reads only. */
  isEmptied(image: DiskImage): Promise<boolean>;
  /**
   * The backing chain of each image, as QEMU follows it, in the same order; each file is read once. Never rejects: a chain
   * that cannot be followed says why. Reads only, also while in use.
   */
  chains(images: readonly DiskImage[]): Promise<readonly BackingChain[]>;
  /** Makes `base` the backing image of `image`. It has the same contents as the former one: nothing is copied. */
  rebase(image: DiskImage, base: DiskImage): Promise<void>;
  /** Returns the same text for all names of one file or device. A missing file is identified by its folder and name. */
  fileKey(path: string): Promise<string>;
  /** Removes overlays that nothing needs any more. Skips missing files. */
  remove(images: readonly DiskImage[]): Promise<void>;
}

/** A domain's snapshots as its folder holds them, in reading order. */
export interface StoredSnapshots {
  readonly entries: readonly SnapshotEntry[];
  /** Name of the current one. */
  readonly current?: string;
}

/** libvirt's own files: `<snapshot dir>/<domain>/<snapshot>.xml`. Every write is durable when its promise resolves. */
export interface SnapshotStore {
  /** Refuses what `write` could not write and read back. Writes nothing. */
  check(domain: DomainRef, snapshot: SnapshotDef): void;
  /** Files that cannot be used are logged and left as they are, as libvirt does; they never fail the load. */
  load(domain: DomainRef): Promise<StoredSnapshots>;
  read(domain: DomainRef, name: string): Promise<SnapshotDef>;
  /** The document that clients are given; `secure`: with passwords. */
  describe(domain: DomainRef, name: string, secure: boolean): Promise<string>;
  write(domain: DomainRef, snapshot: SnapshotDef, current: boolean): Promise<void>;
  remove(domain: DomainRef, name: string): Promise<void>;
  /** Renames folders of domains that were renamed while xlsnapd did not run. Never rejects: failures are logged. */
  adopt(domains: readonly DomainRef[]): Promise<void>;
  /** Moves everything stored of `from` to `to`, the same domain under another name. */
  rename(from: DomainRef, to: DomainRef): Promise<void>;
}

/** Memory images of snapshots with internal memory: `<memory dir>/<uuid>/<snapshot>.save`. */
export interface MemoryImages {
  path(domain: DomainRef, name: string): string;
  /** Returns the names of the snapshots that the domain's folder has whole images of. */
  list(domain: DomainRef): Promise<readonly string[]>;
  /** Creates the folder. Refuses (OPERATION_FAILED) if an image of that name exists already. */
  prepare(domain: DomainRef, name: string): Promise<void>;
  /** The same for an external memory image, whose folder must exist. Refuses an existing file, unless `reuse`. */
  prepareFile(domain: DomainRef, path: string, options: { readonly reuse: boolean }): Promise<void>;
  /**
   * Refuses (OPERATION_FAILED) everything but a regular file, links included, in the place of one of these images. Call
   * it before reading an image. Reads only; accepts a missing image, and one in another folder.
   */
  check(path: string): Promise<void>;
  /** Refuses an image that is there and could not be removed. Reads only. */
  checkRemoval(path: string): Promise<void>;
  /** Removes the domain's folder if it is empty. */
  tidy(domain: DomainRef): Promise<void>;
  /** Removes the image, and what an interrupted save has left of it. Accepts a missing one. */
  remove(domain: DomainRef, name: string): Promise<void>;
  /** Removes an external memory image, and what an interrupted save has left of it. Accepts a missing one. */
  removeFile(path: string): Promise<void>;
}

/** The call of a client that an operation serves. */
export interface Task {
  readonly operation: Operation;
  readonly snapshot: string;
  /** libvirt's flags of the call. */
  readonly flags: number;
}

/** An operation that was running when its daemon ended. */
export interface PendingOperation extends Task {
  readonly domain: DomainRef;
  /** The phase that was about to start, or had started. */
  readonly phase: Phase;
  /** What its daemon saved guests by; undefined in records from before that was recorded. */
  readonly mechanism?: MechanismName;
  /** The parts of the snapshot that it was making, if it had got so far. */
  readonly args?: LibxlDomainSnapshotArgs;
  /** Images that nothing needs when the operation has succeeded. */
  readonly abandoned?: readonly DiskImage[];
  /** The live definition of the guest that was saved; absent in records from before that was recorded. */
  readonly definition?: string;
}

/** A record that cannot be read, and so hides an operation. */
export interface UnreadableRecord {
  /** Of the domain. */
  readonly uuid: string;
  readonly error: LibvirtError;
}

/** Durable record of operations under way, one per domain. */
export interface Journal {
  /**
   * Opens the record; its first phase is `begun`. Refuses, with the way out, a domain that has a record already: of an
   * operation that could not be recovered, or that this version cannot read. A revert or a delete may be run again.
   */
  begin(domain: DomainRef, task: Task): Promise<JournalEntry>;
  /** Returns the interrupted operations, and the records that cannot be read. */
  pending(): Promise<readonly (PendingOperation | UnreadableRecord)[]>;
  /** Ends a pending record: nothing is left to repair. */
  end(domain: DomainRef): Promise<void>;
}

/** The record of one operation. */
export interface JournalEntry {
  phase(name: Phase): Promise<void>;
  /** Kept in the record from now on. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  /** The same. */
  definition(xml: string): Promise<void>;
  /**
   * Call when the operation has ended and nothing is left to repair. Never rejects: if the record cannot be removed,
   * that is logged, and the next start recovers an operation that is already complete.
   */
  end(): Promise<void>;
}

/**
 * Active images of running domains that the owner of the definition does not know. A record ends with the domain's run.
 */
export interface LiveDisks {
  /** False while no domain has a record. */
  readonly any: boolean;
  has(uuid: string): boolean;
  /**
   * By target, for the disks that the owner of the definition still shows as when they were recorded (`shown`: its live
   * definition's): a disk that was attached since is on its own image. From memory. This and what changes the record refuse
   * (OPERATION_INVALID) an active domain whose record cannot be read: nobody knows then which images it uses.
   */
  of(ref: DomainRef, shown: readonly DomainDisk[]): ReadonlyMap<string, DiskImage>;
  /** A disk whose image is the one shown needs no record. Durable when the promise resolves. */
  set(ref: DomainRef, images: ReadonlyMap<string, DiskImage>, shown: readonly DomainDisk[]): Promise<void>;
  /** Forgets disks that are not among these any more, and returns their targets. */
  keepDisks(ref: DomainRef, shown: readonly DomainDisk[]): Promise<readonly string[]>;
  /** Call when the run has ended. */
  forget(uuid: string): Promise<void>;
  /** Forgets all runs except these. */
  keep(domains: readonly DomainRef[]): Promise<void>;
}

/** Lifecycle events for clients. */
export interface LifecycleEvents {
  emit(ref: DomainRef, event: LifecycleEvent): void;
  /**
   * Expects an upstream event of this kind about the domain as a by-product of our own work: each client gets `as` in
   * its place, or nothing. Disposing withdraws the expectation (after a grace time, for events that are still to
   * arrive).
   */
  expect(uuid: string, event: LifecycleEvent, as?: LifecycleEvent): Disposable;
}
