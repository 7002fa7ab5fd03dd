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

/** A named value with its type, as virDomainGetGuestInfo has them: `os.id`, `user.0.name`. */
export type GuestFact = { readonly field: string } & (
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'int' | 'uint'; readonly value: number }
  | { readonly type: 'ullong'; readonly value: bigint }
  | { readonly type: 'boolean'; readonly value: boolean }
);

/** What virDomainGetGuestInfo can be asked for, by the bits of virDomainGuestInfoTypes. */
export const GUEST_INFO = {
  users: 0x1,
  os: 0x2,
  timezone: 0x4,
  hostname: 0x8,
  filesystem: 0x10,
  disks: 0x20,
  interfaces: 0x40,
} as const;
export type GuestInfoKind = keyof typeof GUEST_INFO;

/** A virtual CPU as the guest sees it. */
export interface GuestVcpu {
  readonly id: number;
  readonly online: boolean;
  readonly offlinable: boolean;
}

/** What the agent has the guest do. */
export type PowerAction = 'powerdown' | 'reboot';
