/** What the policy needs of files: metadata, memory images, and which images running domains are on. */

import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainDisk, DomainRef } from '../../model/domain.ts';
import type { SnapshotDef, SnapshotEntry } from '../../model/snapshot.ts';

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

/** Names of snapshots that must not be deleted. They are kept until they are changed, whether such a snapshot is there or not. */
export interface ProtectedNames {
  /** From memory. Refuses (OPERATION_INVALID) a domain whose record cannot be read: all of its snapshots may be protected. */
  of(domain: DomainRef): ReadonlySet<string>;
  /** Durable when the promise resolves. */
  set(domain: DomainRef, names: ReadonlySet<string>): Promise<void>;
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
