/**
 * `xlsnap/client`: snapshots of domains over libvirt's protocol, with an xlsnapd or a libvirtd, for programs. The command line
 * is one. Needs nothing but Node.
 *
 * ```ts
 * await using connection = await connect('xen:///system');
 * const guest = await connection.lookupByName('guest');
 * const clean = await guest.snapshotCreate({ name: 'clean' }, { signal: AbortSignal.timeout(60_000) });
 * await clean.revert({ running: true });
 * ```
 */

export type { ErrorCode, ErrorDomain, ErrorFields, ErrorReason, LibvirtErrorOptions } from '../errors.ts';
export { isLibvirtError, LibvirtError } from '../errors.ts';
export type { DaemonStatus, MechanismName } from '../model/daemon-status.ts';
export type { DomainState } from '../model/domain.ts';
export type {
  BlockCommitOptions,
  BlockJobEvent,
  BlockJobInfo,
  BlockJobType,
  BlockPullOptions,
  Connection,
  ConnectOptions,
  CreateFlags,
  DeleteRequest,
  Domain,
  DomainEvent,
  Job,
  JobOperation,
  JobOptions,
  JobStats,
  LifecycleEvent,
  RevertRequest,
  Snapshot,
  SnapshotDisk,
  SnapshotFilter,
  SnapshotParts,
  SnapshotRequest,
} from './api.ts';
export { connect } from './connect.ts';
