/** What the policy needs of the disks of domains that are not active. */

import type { BackingChain, DiskImage, LayerCommit } from '../../model/disk-image.ts';
import type { StartFile } from '../../model/domain.ts';
import type { InternalSnapshot, LibxlDiskSnapshot } from '../../model/libxl.ts';
import type { MergeJob } from './jobs.ts';

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
  /**
   * Deletes internal snapshots, one disk after the other. Skips those that are already gone. An error names the disks that are
   * done, with the reason `done-in-part` if there are any.
   */
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
  /** Returns the keys of all devices and files below a block device: a partition has its disk below it. None for a file. */
  keysBelow(path: string): Promise<ReadonlySet<string>>;
  /** Removes overlays that nothing needs any more, also if one of them cannot be removed. Skips missing files. */
  remove(images: readonly DiskImage[]): Promise<void>;
}
