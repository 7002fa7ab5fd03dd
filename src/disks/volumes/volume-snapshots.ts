import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../../model/libxl.ts';

/** Internal snapshots that the volumes themselves have: the same calls for an active domain and for an inactive one. */
export interface VolumeSnapshots {
  /** All or nothing. */
  create(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void>;
  check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void>;
}

/** A snapshot volume that bears a name that we give. */
export interface VolumeSnapshot {
  readonly snapshot: string;
  /** `vg/vm.xlsnap.s1`, `pool/vm@xlsnap.s1`. */
  readonly volume: string;
}

/** What can say which snapshots it has, to whoever does not know their names. */
export interface ListedVolumeSnapshots extends VolumeSnapshots {
  /** Those of a disk's volume; without the ones whose name was too long to say what it is of. */
  list(disk: LibxlDeviceDisk): Promise<readonly VolumeSnapshot[]>;
}
