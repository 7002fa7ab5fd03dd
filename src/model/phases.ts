/**
 * Every operation's phases, in their order: what the journal records before each starts, what fault tests interrupt, and
 * what recovery judges by. A host goes through those that its mechanism needs.
 */
export const PHASES = {
  /*
   * begun       everything is checked; nothing has been touched
   * disks       new overlays; without memory also the snapshots of all disks, unless the guest must stand for them
   * saving      memory into `<image>.partial`; through libvirt: virDomainSave
   * suspended   Xen: the guest is suspended in memory; it is paused, its devices made active again
   * paused      the guest stands; snapshots of all disks in one point in time
   * disks-done  the guest goes on; the memory image gets its name
   * saved       through libvirt: the guest is away; internal snapshots in its images
   * restoring   through libvirt: virDomainRestore
   * metadata    the snapshot is listed from here on
   * halt        the snapshot is taken; the domain ends
   */
  create: ['begun', 'disks', 'saving', 'suspended', 'paused', 'disks-done', 'saved', 'restoring', 'metadata', 'halt'],
  /*
   * begun, validate  nothing has been touched
   * overlays         new ones on the snapshot's images: the old domain still runs
   * destroy          the old domain ends: its state is lost from here on
   * disks            the contents of the images go back
   * restore, boot    the domain starts from the snapshot's memory, or from nothing
   * define           its persistent definition goes back
   * metadata         the snapshot becomes the current one
   */
  revert: ['begun', 'validate', 'overlays', 'destroy', 'disks', 'restore', 'define', 'boot', 'metadata'],
  /** `delete`: data before metadata, children before parents. */
  delete: ['begun', 'delete'],
  redefine: ['begun', 'metadata'],
} as const;

export type Operation = keyof typeof PHASES;
export type Phase = (typeof PHASES)[Operation][number];

/** True for a phase of this operation; both may come from a file. */
export function isPhase(operation: string, phase: string): boolean {
  return Object.hasOwn(PHASES, operation) && (PHASES[operation as Operation] as readonly string[]).includes(phase);
}
