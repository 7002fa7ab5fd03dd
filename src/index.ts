/**
 * The library: libxl domain snapshots as mechanism (domainSnapshotSave, domainSnapshotRestore, the structs and their
 * libxl-json), and libvirt's `<domainsnapshot>` document as plain data.
 */

export type { ErrorCode, ErrorDomain, ErrorFields } from './errors.ts';
export { isLibvirtError, LibvirtError } from './errors.ts';
export type { RestoreOptions } from './libxl/restore.ts';
export { domainSnapshotRestore } from './libxl/restore.ts';
export type { SaveOptions } from './libxl/save.ts';
export { domainSnapshotSave } from './libxl/save.ts';
export { DOMAIN_SNAPSHOT, DOMAIN_SNAPSHOT_ARGS, fromLibxlJson, toLibxlJson } from './libxl/structs.ts';
export type {
  LibxlDeviceDisk,
  LibxlDiskSnapshot,
  LibxlDiskSnapshotResult,
  LibxlDomainSnapshot,
  LibxlDomainSnapshotArgs,
  LibxlSnapshotTimings,
} from './model/libxl.ts';
export type { DiskSnapshot, DiskTarget, MemorySnapshot, SnapshotDef, SnapshotState } from './model/snapshot.ts';
export { readSnapshot } from './xml/snapshot-read.ts';
export { writeSnapshot } from './xml/snapshot-write.ts';
