/**
 * Every operation's phases, in their order. The journal records each before it starts, fault tests interrupt them, and
 * recovery decides by them. A host runs those that its mechanism needs.
 */
export const PHASES = {
  /*
   * begun       everything is checked; nothing has been touched
   * disks       new overlays; without memory also the snapshots of all disks, unless the guest must be stopped for them
   * saving      memory into `<image>.partial`; through libvirt: virDomainSave
   * suspended   Xen: the guest is suspended in memory; it is paused, its devices made active again
   * paused      the guest is stopped; snapshots of all disks at one point in time
   * disks-done  the guest runs again; the memory image gets its name
   * saved       through libvirt: the domain is off; internal snapshots in its images
   * restoring   through libvirt: virDomainRestore
   * metadata    the snapshot is listed from here on
   * halt        the snapshot is taken; the domain ends
   */
  create: ['begun', 'disks', 'saving', 'suspended', 'paused', 'disks-done', 'saved', 'restoring', 'metadata', 'halt'],
  /*
   * begun, validate  nothing has been touched
   * overlays         new overlays on the snapshot's images; the old domain still runs
   * destroy          the old domain ends: its state is lost from here on
   * disks            the contents of the images are reverted
   * restore, boot    the domain starts from the snapshot's memory, or boots
   * define           its persistent definition is reverted
   * metadata         the snapshot becomes the current one
   */
  revert: ['begun', 'validate', 'overlays', 'destroy', 'disks', 'restore', 'define', 'boot', 'metadata'],
  /*
   * delete   data goes before metadata, children before parents, and overlays are merged layer by layer:
   * merged   the layer's data is in its base; the definitions, and whatever else names the layer, follow
   * moved    nothing names the layer; its file is removed, and `delete` begins again with the next
   */
  delete: ['begun', 'delete', 'merged', 'moved'],
  redefine: ['begun', 'metadata'],
} as const;

/** virDomainJobOperation of each operation. */
export const JOB_OPERATIONS: Readonly<Record<Operation, number>> = { create: 6, redefine: 6, revert: 7, delete: 10 };

/** An operation that the journal records. */
export type Operation = keyof typeof PHASES;
/** A phase of any operation. */
export type Phase = (typeof PHASES)[Operation][number];

/** True if the operation has such a phase; both texts may come from a file. */
export function isPhase(operation: string, phase: string): boolean {
  return Object.hasOwn(PHASES, operation) && (PHASES[operation as Operation] as readonly string[]).includes(phase);
}

/** The name of a memory image until it is whole. */
export const partialOf = (image: string): string => `${image}.partial`;

/** Phases of a save by libxl in which the guest may be stopped, or in which its owner does not watch it yet. */
export const SAVE_STOPS: ReadonlySet<Phase> = new Set<(typeof PHASES)['create'][number]>([
  'saving',
  'suspended',
  'paused',
  'disks-done',
]);
