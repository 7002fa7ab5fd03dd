/** What the policy needs of hosts: declared here, where it is used; they implement it, and the daemon connects them. */

import type { MechanismName } from '../../model/daemon-status.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import type { Domain, DomainDefinition, DomainRef, StorageVolume } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { Operation, Phase } from '../../model/phases.ts';
import type { TieState } from '../../model/snapshot.ts';
import type { Job, MergeJob } from './jobs.ts';

/** The owner of the domains: an upstream libvirtd, xl, or the embedded host. Domains are found by their UUID. */
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

  /** Refuses (OPERATION_UNSUPPORTED) if `setDisks` could not record new active images of this domain. Reads only. */
  checkSetDisks(domain: Domain): Promise<void>;

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

  /** Refuses (OPERATION_INVALID) a definition that the domain's owner would not take. Accepts what cannot be known. Changes nothing. */
  checkDefinition(domain: Domain, definition: DomainDefinition): Promise<void>;

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
