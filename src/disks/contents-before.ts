import type { LibxlDiskSnapshot } from '../model/libxl.ts';

type Disks = readonly LibxlDiskSnapshot[];

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
}
