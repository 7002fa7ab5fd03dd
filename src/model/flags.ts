/** Flag bits of libvirt's calls (include/libvirt/libvirt-domain-snapshot.h, libvirt-domain.h), with libvirt's names. */

import { LibvirtError } from '../errors.ts';

/** virDomainSnapshotCreateFlags. */
export const CREATE = {
  REDEFINE: 0x1,
  CURRENT: 0x2,
  NO_METADATA: 0x4,
  HALT: 0x8,
  DISK_ONLY: 0x10,
  REUSE_EXT: 0x20,
  QUIESCE: 0x40,
  ATOMIC: 0x80,
  LIVE: 0x100,
  VALIDATE: 0x200,
} as const;

/** virDomainSnapshotListFlags. */
export const LIST = {
  /** For a domain, lists only roots. For a snapshot the same bit is DESCENDANTS. */
  ROOTS: 0x1,
  DESCENDANTS: 0x1,
  METADATA: 0x2,
  LEAVES: 0x4,
  NO_LEAVES: 0x8,
  NO_METADATA: 0x10,
  INACTIVE: 0x20,
  ACTIVE: 0x40,
  DISK_ONLY: 0x80,
  INTERNAL: 0x100,
  EXTERNAL: 0x200,
  TOPOLOGICAL: 0x400,
} as const;

/** virDomainSnapshotRevertFlags. */
export const REVERT = { RUNNING: 0x1, PAUSED: 0x2, FORCE: 0x4, RESET_NVRAM: 0x8 } as const;

/** virDomainSnapshotDeleteFlags. */
export const DELETE = { CHILDREN: 0x1, METADATA_ONLY: 0x2, CHILDREN_ONLY: 0x4 } as const;

/** virDomainXMLFlags; the first bit is also VIR_DOMAIN_SNAPSHOT_XML_SECURE. */
export const XML = { SECURE: 0x1, INACTIVE: 0x2, MIGRATABLE: 0x8 } as const;

/** virDomainBlockCommitFlags. */
export const COMMIT = { SHALLOW: 0x1, DELETE: 0x2, ACTIVE: 0x4, RELATIVE: 0x8, BANDWIDTH_BYTES: 0x10 } as const;

/** virDomainBlockPullFlags, and those of virDomainBlockRebaseFlags that mean the same. */
export const PULL = { RELATIVE: 0x10, BANDWIDTH_BYTES: 0x40 } as const;

/** virDomainBlockRebaseFlags that a copy has. */
export const REBASE = {
  SHALLOW: 0x1,
  REUSE_EXT: 0x2,
  COPY_RAW: 0x4,
  COPY: 0x8,
  RELATIVE: 0x10,
  COPY_DEV: 0x20,
  BANDWIDTH_BYTES: 0x40,
} as const;

/** virDomainBlockCopyFlags. */
export const COPY = { SHALLOW: 0x1, REUSE_EXT: 0x2, TRANSIENT_JOB: 0x4, SYNCHRONOUS_WRITES: 0x8 } as const;

/** virDomainBlockResizeFlags. */
export const RESIZE = { BYTES: 0x1 } as const;

/** virDomainBlockJobAbortFlags. */
export const JOB_ABORT = { ASYNC: 0x1, PIVOT: 0x2 } as const;

/** virDomainBlockJobInfoFlags, virDomainBlockJobSetSpeedFlags. */
export const JOB_INFO = { BANDWIDTH_BYTES: 0x1 } as const;
export const JOB_SPEED = { BANDWIDTH_BYTES: 0x1 } as const;

/** virDomainGetJobStatsFlags: the last completed job is reported once, unless it is kept for others. */
export const JOB_STATS = { COMPLETED: 0x1, KEEP_COMPLETED: 0x2 } as const;

/** virDomainAbortJobFlagsValues. */
export const ABORT_JOB = { POSTCOPY: 0x1 } as const;

/** Returns all bits of a table. */
export function allFlags(bits: Readonly<Record<string, number>>): number {
  return Object.values(bits).reduce((sum, bit) => sum | bit, 0);
}

/** virCheckFlags: refuses (8) unknown bits, which are never ignored. */
export function refuseUnknownFlags(flags: number, known: number, call: string): void {
  const unknown = (flags & ~known) >>> 0;
  if (unknown === 0) return;
  throw new LibvirtError('INVALID_ARG', `unsupported flags (0x${unknown.toString(16)}) in function ${call}`, {
    argument: { function: call, name: 'flags' },
  });
}
