/**
 * What the policy asks of the rest of the world. These interfaces are declared here, by the one who needs them; hosts,
 * disks and store implement them, and the daemon puts the pieces together.
 */

import type { LibvirtError } from '../errors.ts';
import type { DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { Domain, DomainDefinition, DomainRef, StartFile } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { Operation, Phase } from '../model/phases.ts';
import type { SnapshotDef, SnapshotEntry } from '../model/snapshot.ts';

/** Progress of a job, for virsh domjobinfo and people. Bytes of the memory image; `total` is an estimate until the end. */
export interface JobProgress {
  readonly done: number;
  readonly total: number;
}

/** What a long operation reports to, and asks, while it runs. */
export interface Job {
  /** Aborted when the client cancels or the daemon stops; honoured until the point of no return. */
  readonly signal: AbortSignal;
  /** Records a phase durably before it starts. The operation waits for it. */
  phase(name: Phase): Promise<void>;
  /** Records durably what is about to be made, so that after a crash it can be taken back, and what will be left over. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  progress(progress: JobProgress): void;
}

/** Whoever owns the domains: an upstream libvirtd, or the embedded host. Every call that names a domain goes by its UUID. */
export interface Host {
  /** The domain now. NO_DOMAIN where there is none of this UUID. */
  lookup(ref: DomainRef): Promise<Domain>;

  /** All domains, for loading stored snapshots at start-up. */
  list(): Promise<readonly Domain[]>;

  /**
   * libvirt's definition in inactive format, passwords included: `live` as the domain runs now, `persistent` as it
   * would start next. For an inactive domain both are the same.
   */
  definition(domain: Domain, which: 'live' | 'persistent'): Promise<DomainDefinition>;

  /**
   * Refuses with code and reason what `save` could not do, also for lack of space for the memory image. Changes nothing.
   */
  checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void>;

  /**
   * Memory and disks of an active domain, in one point in time. Afterwards the domain runs as before and its owner
   * still watches it. On an error nothing is left: no file, no disk snapshot, the guest runs; or the message says what is.
   */
  save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot>;

  /**
   * Resolves when the domain's owner has ended what a daemon before us, or somebody else, has asked it to do with the
   * domain; calls `waiting` once where that is not at once.
   */
  idle(ref: DomainRef, options: { readonly signal: AbortSignal; waiting(): void }): Promise<void>;

  /**
   * After a crash of ours: a domain that an interrupted operation may have left stopped runs again as before, and its
   * owner watches it. Idempotent; a domain that runs is no error. A transient one that is gone is given as off.
   */
  recover(domain: Domain, interrupted: Interruption): Promise<void>;

  /** Deletes the internal snapshot `name` from the images of an active domain, through its device model. */
  deleteDiskSnapshots(domain: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;

  /** OfflineDisks.commit for an active domain, through its device model. `setDisks` is the caller's next step. */
  commit(domain: Domain, layers: readonly LayerCommit[], job: Pick<Job, 'signal' | 'progress'>): Promise<void>;

  /**
   * From now on the disks (by target, `xvda`) are these images: in the `persistent` definition, or in the `live` one as
   * every client sees it, whose device model uses them already. Clients hear nothing of it.
   */
  setDisks(domain: Domain, images: ReadonlyMap<string, DiskImage>, which: 'live' | 'persistent'): Promise<void>;

  /**
   * Refuses what `restore` could not read, while the old domain still runs, and a memory image whose disks have moved on
   * since the snapshot was taken.
   */
  checkRestore(domain: Domain, memory: SavedMemory, definition: DomainDefinition): Promise<void>;

  /** The contents of the memory image's disks are in other images now, and the same. */
  retie(memory: SavedMemory): Promise<void>;

  /**
   * The guest's file systems stand still, by its agent, until this is disposed of. ARGUMENT_UNSUPPORTED (74) where the
   * domain has no agent.
   */
  freeze(domain: Domain): Promise<AsyncDisposable>;

  /** Ends an active domain at once, so that its disks can be replaced. Clients see STOPPED/FROM_SNAPSHOT. */
  destroy(domain: Domain): Promise<void>;

  /**
   * A new active domain from a memory image, owned as the old one was. `definition` replaces the one in the image: name
   * and disks may be others now. Clients see STARTED/FROM_SNAPSHOT, then RESUMED/FROM_SNAPSHOT or, with `paused`,
   * SUSPENDED/FROM_SNAPSHOT.
   */
  restore(
    domain: Domain,
    memoryPath: string,
    options: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void>;

  /** Makes `definition` the persistent one. Clients hear nothing of it: when it is told, they are told by the caller. */
  define(definition: DomainDefinition): Promise<void>;

  /**
   * Boots an inactive domain from `definition`, which is the persistent one where it has one. Clients see
   * RESUMED/UNPAUSED and STARTED/FROM_SNAPSHOT, as the qemu driver tells it; with `paused` STARTED/FROM_SNAPSHOT and
   * SUSPENDED/FROM_SNAPSHOT.
   */
  start(domain: Domain, options: { readonly paused: boolean; readonly definition: DomainDefinition }): Promise<void>;

  /** Calls back when a domain has gone for good (undefined, or a transient one that ended). */
  onGone(listener: (ref: DomainRef) => void): void;

  /** Calls back when a domain goes by another name; its UUID stays. */
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
 * How far an operation had come: the phase it had announced, and where the snapshot's memory image is or was to be, if it
 * is to have one.
 */
export interface Interruption {
  readonly operation: Operation;
  readonly phase: Phase;
  readonly memoryPath?: string;
}

/** Snapshots of the images of a domain that is not active: internal ones, and overlays (`external`). */
export interface OfflineDisks {
  /**
   * Internal snapshots and new overlays, all or nothing: what was made before a failure is taken away again. `open`: the
   * images that the domain's own device model has open now; overlays may be made on these, too.
   */
  create(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
  /**
   * Refuses (OPERATION_FAILED) a name that one of the images has a snapshot of already, and with libvirt's code and text
   * an overlay's file that is there already, or with `external_reuse` is not. Reads only.
   */
  checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /** Puts the contents of internal snapshots back. Idempotent: after a failure, run again. */
  apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /** Deletes internal snapshots. One that is already gone is no error. */
  delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  /**
   * Refuses (55, naming disk and file) a disk whose image is missing, lacks the internal snapshot, has a broken backing
   * chain, or is in use by somebody else. `open`: the images that the domain's own device model has open now. Reads only.
   */
  check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
  /** Refuses (55, naming the file and who needs it) what a start of the domain could not open. Reads only. */
  checkStart(files: readonly StartFile[]): Promise<void>;
  /** Merges each layer into the one beneath, and removes its file. A layer whose file is gone is done: idempotent. */
  commit(layers: readonly LayerCommit[], job: Pick<Job, 'signal' | 'progress'>): Promise<void>;
  /**
   * The image and those beneath it, from the top; the last one has no backing image, or is not there and one of `merged`
   * (paths). Reads only, also while in use.
   */
  chain(image: DiskImage, merged?: ReadonlySet<string>): Promise<readonly DiskImage[]>;
  /** `image` gets `base` as its backing image, which has the same contents as the former one: nothing is copied. */
  rebase(image: DiskImage, base: DiskImage): Promise<void>;
  /** The same text for all names of one file or device. A file that does not exist goes by its folder and name. */
  fileKey(path: string): Promise<string>;
  /** Overlays that nothing needs any more. A missing file is no error. */
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
  /** Folders of domains that were renamed while nobody looked go along to their new names. Never rejects: it logs. */
  adopt(domains: readonly DomainRef[]): Promise<void>;
  /** Everything stored of `from` is from now on that of `to`, the same domain under another name. */
  rename(from: DomainRef, to: DomainRef): Promise<void>;
}

/** Where the RAM of snapshots with internal memory lies: `<memory dir>/<uuid>/<snapshot>.save`. */
export interface MemoryImages {
  path(domain: DomainRef, name: string): string;
  /** Makes the folder. Refuses (OPERATION_FAILED) if there is an image of that name already. */
  prepare(domain: DomainRef, name: string): Promise<void>;
  /** The same for an external memory image: its folder must be there. Refuses an existing file, unless `reuse`. */
  prepareFile(domain: DomainRef, path: string, options: { readonly reuse: boolean }): Promise<void>;
  /**
   * Refuses (OPERATION_FAILED) a link, and whatever else is no file, in the place of one of these images, to be asked
   * before it is read. Reads only; a missing image, and one in another folder, is no error.
   */
  check(path: string): Promise<void>;
  /** Takes the domain's folder away where it is empty. */
  tidy(domain: DomainRef): Promise<void>;
  /** Also what a save that was interrupted has left of it. A missing image is no error. */
  remove(domain: DomainRef, name: string): Promise<void>;
  /** An external memory image, and what an interrupted save has left of it. A missing one is no error. */
  removeFile(path: string): Promise<void>;
}

/** What a client has asked for. */
export interface Task {
  readonly operation: Operation;
  readonly snapshot: string;
  /** libvirt's, of the call. */
  readonly flags: number;
}

/** An operation that had not ended when its daemon did. */
export interface PendingOperation extends Task {
  readonly domain: DomainRef;
  /** The phase that was about to start, or under way. */
  readonly phase: Phase;
  /** What it was making, where it had come to that. */
  readonly args?: LibxlDomainSnapshotArgs;
  /** Images that nothing needs once it is done. */
  readonly abandoned?: readonly DiskImage[];
}

/** Durable record of operations under way, one per domain. */
export interface Journal {
  /** Opens the record; its first phase is `begun`. */
  begin(domain: DomainRef, task: Task): Promise<JournalEntry>;
  /** What a crash interrupted; for each record that cannot be understood, and so hides an operation, the error to tell. */
  pending(): Promise<readonly (PendingOperation | LibvirtError)[]>;
  /** Ends a pending record: nothing of it is left to repair. */
  end(domain: DomainRef): Promise<void>;
}

export interface JournalEntry {
  phase(name: Phase): Promise<void>;
  /** Kept in the record from now on. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  /**
   * The operation has ended, well or badly, with nothing left to repair. Never rejects: a record that stays is logged, and
   * tells the next start of what has been done already.
   */
  end(): Promise<void>;
}

/** Which images a running domain stands on where the owner of its definition cannot know. Of one run of the domain. */
export interface LiveDisks {
  /** False while no domain has a record. */
  readonly any: boolean;
  has(uuid: string): boolean;
  /** By target; empty where its definition is right. From memory. */
  of(ref: DomainRef): ReadonlyMap<string, DiskImage>;
  /** Durable when the promise resolves. */
  set(ref: DomainRef, images: ReadonlyMap<string, DiskImage>): Promise<void>;
  /** The run has ended. */
  forget(uuid: string): Promise<void>;
  /** Forgets all runs but these. */
  keep(domains: readonly DomainRef[]): Promise<void>;
}

/** Lifecycle events to clients. */
export interface LifecycleEvents {
  emit(ref: DomainRef, event: LifecycleEvent): void;
  /**
   * The next upstream event of this kind about the domain is a by-product of our own work: each client sees `as` in its
   * place, or nothing. Disposing of it withdraws the expectation (after a grace time, for events still on their way).
   */
  expect(uuid: string, event: LifecycleEvent, as?: LifecycleEvent): Disposable;
}
