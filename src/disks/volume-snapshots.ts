import type { LibxlDiskSnapshot } from '../model/libxl.ts';

/** Internal snapshots that the volumes themselves have: the same calls for an active domain and for an inactive one. */
export interface VolumeSnapshots {
  /** All or nothing. */
  create(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
}
