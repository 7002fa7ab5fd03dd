import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../model/libxl.ts';

type Disks = readonly LibxlDiskSnapshot[];

/** Something on a disk's storage that only a revert under way needs. Commands are given as their words; the domain must be off. */
export type RevertLeftover =
  /** What the disk held before. */
  | { readonly kind: 'kept'; readonly place: string; readonly putBack: Words; readonly removal: Words }
  /** The disk as it was replaced, or was to be. */
  | { readonly kind: 'scrap'; readonly place: string; readonly removal: Words }
  /** The disk itself, which has another name until the revert is finished. */
  | { readonly kind: 'away'; readonly place: string };

type Words = readonly string[];

/**
 * What disks hold before a revert of several, kept by their storage until all of them are reverted. `disks`: those of one
 * storage backend.
 */
export interface ContentsBefore {
  /** Refuses (55) if there is no room for `keep` before a revert to snapshot `name`. Reads only. */
  checkRoom(name: string, disks: Disks): Promise<void>;
  /** Keeps them: of all disks or of none. What an earlier revert has left is removed first. */
  keep(name: string, disks: Disks): Promise<void>;
  /** Where they are kept, for messages; undefined if they are not. */
  find(disk: LibxlDiskSnapshot): Promise<string | undefined>;
  /** Gives the disks, reverted or half reverted, what they held before. After a failure it can be run again. */
  putBack(disks: Disks): Promise<void>;
  /** Removes what is kept; skips disks of which nothing is. */
  forget(disks: Disks): Promise<void>;
  /** All that an earlier revert has left on the disk's storage. Reads only. */
  leftovers(disk: LibxlDeviceDisk): Promise<readonly RevertLeftover[]>;
}
