/**
 * The library: the mechanism of domain snapshots on libxl, without any policy, and libvirt's `<domainsnapshot>` as data.
 *
 * ```ts
 * const snapshot = await domainSnapshotSave(domid, 's1', args, { domainXml });
 * await writeFile('s1.json', toLibxlJson(DOMAIN_SNAPSHOT, snapshot));
 * const domid = await domainSnapshotRestore(fromLibxlJson(DOMAIN_SNAPSHOT, json));
 * ```
 *
 * - **Shapes**: `LibxlDomainSnapshotArgs` in, `LibxlDomainSnapshot` out; schemas/libxl_snapshot.idl in libxl's own language.
 *   The caller supplies the domid, the name and every path; the library names, places, lists and deletes nothing itself.
 * - **Units**: fields say theirs: `_bytes`, `_ms`; `creation_time` is in seconds since the epoch. Paths are absolute.
 * - **Errors**: every function rejects, or throws, with a `LibvirtError` only. Its `code` is libvirt's (virErrorNumber), its
 *   message names the domain, the disk or the file. INVALID_ARG: parameters that do not fit; CONFIG_UNSUPPORTED and
 *   OPERATION_UNSUPPORTED: this domain or disk cannot do it; DOM_EXIST: a restore would replace a domain;
 *   OPERATION_ABORTED: the signal; OPERATION_FAILED: libxl, QEMU or the file system, in their words. Everything that can be
 *   refused is refused before the guest is touched.
 * - **Needs**: root in Domain-0 and libxenlight 4.15 to 4.22, for the functions that take or return a domid. The others
 *   work anywhere.
 * - **Source**: the RFC of 2014 (xen-devel, "libxl domain snapshot API"), with its review applied: parameters and result are
 *   two structs, a restore never destroys; libvirt's formatdomainsnapshot page (https://libvirt.org/formatsnapshot.html).
 */

export type { ErrorCode, ErrorDomain, ErrorFields, ErrorReason, LibvirtErrorOptions } from './errors.ts';
export { isLibvirtError, LibvirtError } from './errors.ts';
export type { RestoreOptions } from './libxl/restore.ts';
export { domainSnapshotRestore } from './libxl/restore.ts';
export type { SaveOptions, SavePhase } from './libxl/save.ts';
export { checkDomainSnapshotSave, domainSnapshotSave } from './libxl/save.ts';
export type { StructType } from './libxl/structs.ts';
export { DOMAIN_SNAPSHOT, DOMAIN_SNAPSHOT_ARGS, fromLibxlJson, toLibxlJson } from './libxl/structs.ts';
export type { LibxlSession, MemoryProgress, Toolstack } from './libxl/toolstack.ts';
export type { DomainState, SnapshotLocation, StorageType } from './model/domain.ts';
export type { XmlElement, XmlNode } from './model/element.ts';
export type {
  LibxlDefbool,
  LibxlDeviceDisk,
  LibxlDiskFormat,
  LibxlDiskSnapshot,
  LibxlDiskSnapshotResult,
  LibxlDomainSnapshot,
  LibxlDomainSnapshotArgs,
  LibxlSnapshotTimings,
} from './model/libxl.ts';
export type { DiskSnapshot, DiskTarget, MemorySnapshot, SnapshotDef, SnapshotState } from './model/snapshot.ts';
export { readSnapshot } from './xml/snapshot/read.ts';
export type { WriteOptions } from './xml/snapshot/write.ts';
export { writeSnapshot } from './xml/snapshot/write.ts';
export { configOfDomainXml, domainXmlOfConfig } from './xml/xl/domain.ts';
