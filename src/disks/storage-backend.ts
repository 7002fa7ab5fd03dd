/** The interface of a kind of storage whose disks can be snapshotted. BACKENDS (backends.ts) lists all of them. */

import type { LibxlDeviceDisk, LibxlDiskSnapshot, LibxlDiskSnapshotResult } from '../model/libxl.ts';
import type { UndoStep } from './all-or-nothing.ts';
import type { ContentsBefore } from './contents-before.ts';
import type { Program } from './program.ts';
import type { BlockGraph, DiskRoot } from './qemu/block-graph.ts';
import type { CapturedContents } from './qemu/nbd-export.ts';
import type { Qmp } from './qemu/qmp.ts';

type Disks = readonly LibxlDiskSnapshot[];

/**
 * One kind of storage. `name` is the snapshot's name, `disks` are the disks that `refusal` accepts, and `open` holds
 * the paths of the images that the domain's own device model has open now.
 */
export interface StorageBackend {
  /** Memory images are tied to disks by it (memory/tie.ts), so it must never change. */
  readonly name: string;
  /** The programs that create and revert its snapshots. */
  readonly programs: readonly Program[];
  /** It makes the snapshots of this location, of disks that libxl serves by this backend of its own. */
  readonly location: 'internal' | 'external';
  readonly servedBy: 'qdisk' | 'phy';
  /** Why it makes none of this disk, to follow "unsupported "; undefined if it does. Reads only. */
  refusal(disk: LibxlDeviceDisk): Promise<string | undefined>;

  /** Refuses a name that is taken. Reads only. */
  checkFree(name: string, disks: Disks): Promise<void>;
  /** All or nothing, durable when it returns. Returns the steps that undo it. */
  create(name: string, disks: Disks, open: ReadonlySet<string>): Promise<readonly UndoStep[]>;
  /**
   * Refuses (55) what `revert` could not do. An error has the reason `snapshot-gone` if the contents are lost. Reads
   * only.
   */
  check(name: string, disks: Disks, open: ReadonlySet<string>): Promise<void>;
  /** Puts the disks' contents back, one after the other; the snapshots stay. After a failure it can be run again. */
  revert(name: string, disks: Disks): Promise<void>;
  /** How what the disks hold is kept while several are reverted. Absent if the storage cannot. */
  readonly before?: ContentsBefore;
  /** Refuses (55) what `delete` could not do, for snapshots of these names in one disk; accepts those that are gone. Reads only. */
  checkDelete(disk: LibxlDeviceDisk, names: readonly string[], open: ReadonlySet<string>): Promise<void>;
  /** Deletes the snapshots; skips those that are already gone. */
  delete(name: string, disks: Disks): Promise<void>;

  /** The same string as long as the snapshot's contents are the same. Does not read them. */
  fingerprint(name: string, snapshot: LibxlDiskSnapshot): Promise<string>;
  /** The snapshots that the disk's storage has, as far as their names can be read. */
  list(disk: LibxlDeviceDisk): Promise<readonly StoredSnapshot[]>;
  /** Where QEMU finds the disk's contents in the snapshot. Absent if the storage itself has them. */
  captured?(name: string, snapshot: LibxlDiskSnapshot): Promise<CapturedContents>;

  /**
   * How QEMU makes the snapshots while the guest runs. Absent if `create` and `delete` do that, too: one disk after the
   * other, so that the guest must be paused if there is a second disk.
   */
  readonly qemu?: QemuBackend;
}

/** A snapshot that a disk's storage has. */
export interface StoredSnapshot {
  readonly snapshot: string;
  /** `vg/vm.xlsnap.s1`, `pool/vm@xlsnap.s1`, the path of an image. */
  readonly place: string;
  /** True if xlsnap must have made it: nobody else chooses such names. */
  readonly isOurs: boolean;
}

/** Disks of a running guest. */
export interface LiveDisks {
  /** Returns the QMP socket of the domain's device model. Called only if QEMU serves one of the disks. */
  monitor(): Promise<string>;
  /** Pauses the guest until it is disposed of. Called if QEMU has a disk open twice; absent if it never has. */
  hold?(): Promise<AsyncDisposable>;
  /** Of the snapshot, the same on all disks. */
  readonly name: string;
  /** Their `pdev_path` is the active image. */
  readonly disks: Disks;
  /** Honoured until the first change. */
  readonly signal: AbortSignal;
}

/** A disk, and the node in QEMU that its device is attached to. */
export interface ServedDisk {
  readonly snapshot: LibxlDiskSnapshot;
  readonly root: DiskRoot;
}

/** Snapshots that QEMU makes of a running guest's disks. */
export interface QemuBackend {
  /** Refuses a file to be made that is in the way. Reads only. */
  checkFiles(disks: Disks): Promise<void>;
  /** Refuses a disk of which QEMU can take no snapshot of this name. */
  check(served: ServedDisk, name: string): void;
  share(served: readonly ServedDisk[], live: LiveDisks): TransactionShare;
  delete(live: LiveDisks, disks: Disks): Promise<void>;
}

/** The part that the disks of one backend have in QEMU's transaction. */
export interface TransactionShare {
  readonly served: readonly ServedDisk[];
  /** True if the guest must be paused even if this is all there is to take. */
  readonly needsPause: boolean;
  /** While the guest still runs. After an error the steps of `undo` are due. */
  prepare(): Promise<void>;
  /**
   * Opens in QEMU what the transaction's actions need, and returns the actions. `served`: as QEMU has the disks now.
   */
  actions(qmp: Qmp, graph: BlockGraph, served: readonly ServedDisk[]): Promise<readonly object[]>;
  /** After the transaction, before the guest runs again. */
  finish(qmp: Qmp): Promise<void>;
  result(served: ServedDisk): LibxlDiskSnapshotResult;
  /** The steps that undo it. `mayBeTaken`: the transaction may have succeeded. */
  undo(mayBeTaken: boolean): readonly UndoStep[];
}
