/** How a daemon serves, as it says itself (`xlsnap doctor`). */

/** Values of xlsnapd's `--mechanism`. */
export const MECHANISM_OPTIONS = ['auto', 'libxl', 'libvirt'] as const;
/** A value of --mechanism. */
export type MechanismOption = (typeof MECHANISM_OPTIONS)[number];

/**
 * How memory and disks of an active domain get into a snapshot: by libxl, while the guest stays; through libvirtd's own
 * save and restore, between which the guest is off; or by the embedded host, which has no libvirtd.
 */
export type MechanismName = Exclude<MechanismOption, 'auto'> | 'embedded';

/** How the daemon serves, and in which folders. */
export interface DaemonStatus {
  readonly version: string;
  readonly mechanism: MechanismName;
  /** Why this mechanism: the library that was loaded, or why none could be. */
  readonly reason: string;
  /** Absolute paths. */
  readonly snapshotDir: string;
  readonly memoryDir: string;
  readonly stateDir: string;
}
