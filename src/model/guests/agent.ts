/** What a guest says of itself, by its agent. */

/** A point in time, since the epoch. */
export interface GuestTime {
  readonly seconds: bigint;
  readonly nanoseconds: number;
}

/** A mounted file system (virDomainFSInfo). */
export interface FileSystem {
  readonly mountpoint: string;
  /** Of the device in the guest. */
  readonly name: string;
  readonly type: string;
  /** Targets of the disks that it is on. */
  readonly disks: readonly string[];
}
