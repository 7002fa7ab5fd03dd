/** The calls that the client sends, with the names that libvirt's API has for them. */

import { type Codec, int, nothing, optional, string, struct, uhyper, uint, uuid } from '../wire/codec.ts';
import {
  DAEMON_STATUS,
  DOMAIN_LIST_PROTECTED,
  DOMAIN_LIST_SNAPSHOT_ROWS,
  SNAPSHOT_CHECK_CREATE,
  SNAPSHOT_SET_PROTECTED,
} from '../wire/daemon-program.ts';
import { domain } from '../wire/messages.ts';
import { PROCEDURES as P, type Procedure } from '../wire/procedures.ts';
import type { RemoteCall } from './connection.ts';

function call<A, R>(name: string, { number, args, result }: Omit<Procedure<A, R>, 'readOnly'>): RemoteCall<A, R> {
  return { name, number, args, result };
}

/** A call that is never answered here, so procedures.ts does not have it. */
function foreign<A, R>(name: string, number: number, args: Codec<A>, result: Codec<R>): RemoteCall<A, R> {
  return { name, number, args, result };
}

/** remote_nonnull_network. */
const network = struct({ name: string, uuid });
/** remote_nonnull_storage_pool. */
const pool = struct({ name: string, uuid });
/** remote_nonnull_storage_vol. */
const volume = struct({ pool: string, name: string, key: string });
const metadataArgs = struct({
  domain,
  type: int,
  metadata: optional(string),
  key: optional(string),
  uri: optional(string),
  flags: uint,
});
const pmSuspendArgs = struct({ domain, target: uint, duration: uhyper, flags: uint });

/** VIR_DOMAIN_METADATA_ELEMENT, VIR_DOMAIN_AFFECT_LIVE. */
export const LIVE_ELEMENT = { type: 2, flags: 1 } as const;

/** The procedures by the names of libvirt's API. */
export const CALLS = {
  daemonStatus: { name: 'the question for its status', ...DAEMON_STATUS },
  setProtected: { name: 'the change of what is protected', ...SNAPSHOT_SET_PROTECTED },
  listRows: { name: 'the list of snapshots', ...DOMAIN_LIST_SNAPSHOT_ROWS },
  listProtected: { name: 'the question for what is protected', ...DOMAIN_LIST_PROTECTED },
  checkCreate: { name: 'the check of a new snapshot', ...SNAPSHOT_CHECK_CREATE },
  authList: call('virConnectOpenAuth', P.AUTH_LIST),
  authPolkit: foreign('virConnectOpenAuth', 70, nothing, struct({ complete: int })),
  open: call('virConnectOpen', P.CONNECT_OPEN),
  supportsFeature: call('virConnectOpen', P.CONNECT_SUPPORTS_FEATURE),
  registerAny: call('virConnectDomainEventRegisterAny', P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY),
  getType: call('virConnectGetType', P.CONNECT_GET_TYPE),
  getCapabilities: call('virConnectGetCapabilities', P.CONNECT_GET_CAPABILITIES),
  getVersion: call('virConnectGetVersion', P.CONNECT_GET_VERSION),
  getLibVersion: call('virConnectGetLibVersion', P.CONNECT_GET_LIB_VERSION),
  listAllDomains: call('virConnectListAllDomains', P.CONNECT_LIST_ALL_DOMAINS),
  lookupByID: call('virDomainLookupByID', P.DOMAIN_LOOKUP_BY_ID),
  lookupByName: call('virDomainLookupByName', P.DOMAIN_LOOKUP_BY_NAME),
  lookupByUUID: call('virDomainLookupByUUID', P.DOMAIN_LOOKUP_BY_UUID),
  getState: call('virDomainGetState', P.DOMAIN_GET_STATE),
  getInfo: call('virDomainGetInfo', P.DOMAIN_GET_INFO),
  getFreeMemory: foreign('virNodeGetFreeMemory', 102, nothing, struct({ value: uhyper })),
  networkLookupByName: foreign('virNetworkLookupByName', 46, struct({ name: string }), struct({ network })),
  networkIsActive: foreign('virNetworkIsActive', 152, struct({ network }), struct({ active: int })),
  isPersistent: call('virDomainIsPersistent', P.DOMAIN_IS_PERSISTENT),
  getXMLDesc: call('virDomainGetXMLDesc', P.DOMAIN_GET_XML_DESC),
  defineXML: call('virDomainDefineXML', P.DOMAIN_DEFINE_XML),
  undefine: call('virDomainUndefine', P.DOMAIN_UNDEFINE),
  createXML: call('virDomainCreateXML', P.DOMAIN_CREATE_XML),
  createWithFlags: call('virDomainCreateWithFlags', P.DOMAIN_CREATE_WITH_FLAGS),
  destroy: call('virDomainDestroy', P.DOMAIN_DESTROY),
  shutdown: call('virDomainShutdown', P.DOMAIN_SHUTDOWN),
  suspend: call('virDomainSuspend', P.DOMAIN_SUSPEND),
  resume: call('virDomainResume', P.DOMAIN_RESUME),
  saveFlags: call('virDomainSaveFlags', P.DOMAIN_SAVE_FLAGS),
  restoreFlags: call('virDomainRestoreFlags', P.DOMAIN_RESTORE_FLAGS),
  saveImageGetXMLDesc: call('virDomainSaveImageGetXMLDesc', P.DOMAIN_SAVE_IMAGE_GET_XML_DESC),
  saveImageDefineXML: call('virDomainSaveImageDefineXML', P.DOMAIN_SAVE_IMAGE_DEFINE_XML),
  storagePoolLookupByName: foreign('virStoragePoolLookupByName', 84, struct({ name: string }), struct({ pool })),
  storageVolLookupByName: foreign('virStorageVolLookupByName', 95, struct({ pool, name: string }), struct({ volume })),
  storageVolGetPath: foreign('virStorageVolGetPath', 100, struct({ volume }), struct({ name: string })),
  hasManagedSaveImage: call('virDomainHasManagedSaveImage', P.DOMAIN_HAS_MANAGED_SAVE_IMAGE),
  managedSave: call('virDomainManagedSave', P.DOMAIN_MANAGED_SAVE),
  setMetadata: foreign('virDomainSetMetadata', 264, metadataArgs, nothing),
  managedSaveRemove: call('virDomainManagedSaveRemove', P.DOMAIN_MANAGED_SAVE_REMOVE),
  pmSuspendForDuration: foreign('virDomainPMSuspendForDuration', 261, pmSuspendArgs, nothing),
  pmWakeup: foreign('virDomainPMWakeup', 267, struct({ domain, flags: uint }), nothing),
  getJobStats: call('virDomainGetJobStats', P.DOMAIN_GET_JOB_STATS),
  blockCommit: call('virDomainBlockCommit', P.DOMAIN_BLOCK_COMMIT),
  blockPull: call('virDomainBlockPull', P.DOMAIN_BLOCK_PULL),
  blockRebase: call('virDomainBlockRebase', P.DOMAIN_BLOCK_REBASE),
  blockJobAbort: call('virDomainBlockJobAbort', P.DOMAIN_BLOCK_JOB_ABORT),
  getBlockJobInfo: call('virDomainGetBlockJobInfo', P.DOMAIN_GET_BLOCK_JOB_INFO),
  blockJobSetSpeed: call('virDomainBlockJobSetSpeed', P.DOMAIN_BLOCK_JOB_SET_SPEED),
  abortJob: call('virDomainAbortJob', P.DOMAIN_ABORT_JOB),
  snapshotCreateXML: call('virDomainSnapshotCreateXML', P.DOMAIN_SNAPSHOT_CREATE_XML),
  snapshotGetXMLDesc: call('virDomainSnapshotGetXMLDesc', P.DOMAIN_SNAPSHOT_GET_XML_DESC),
  snapshotNum: call('virDomainSnapshotNum', P.DOMAIN_SNAPSHOT_NUM),
  snapshotListNames: call('virDomainSnapshotListNames', P.DOMAIN_SNAPSHOT_LIST_NAMES),
  listAllSnapshots: call('virDomainListAllSnapshots', P.DOMAIN_LIST_ALL_SNAPSHOTS),
  snapshotLookupByName: call('virDomainSnapshotLookupByName', P.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME),
  hasCurrentSnapshot: call('virDomainHasCurrentSnapshot', P.DOMAIN_HAS_CURRENT_SNAPSHOT),
  snapshotCurrent: call('virDomainSnapshotCurrent', P.DOMAIN_SNAPSHOT_CURRENT),
  snapshotGetParent: call('virDomainSnapshotGetParent', P.DOMAIN_SNAPSHOT_GET_PARENT),
  snapshotNumChildren: call('virDomainSnapshotNumChildren', P.DOMAIN_SNAPSHOT_NUM_CHILDREN),
  snapshotListChildrenNames: call('virDomainSnapshotListChildrenNames', P.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES),
  snapshotListAllChildren: call('virDomainSnapshotListAllChildren', P.DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN),
  snapshotIsCurrent: call('virDomainSnapshotIsCurrent', P.DOMAIN_SNAPSHOT_IS_CURRENT),
  snapshotHasMetadata: call('virDomainSnapshotHasMetadata', P.DOMAIN_SNAPSHOT_HAS_METADATA),
  revertToSnapshot: call('virDomainRevertToSnapshot', P.DOMAIN_REVERT_TO_SNAPSHOT),
  snapshotDelete: call('virDomainSnapshotDelete', P.DOMAIN_SNAPSHOT_DELETE),
} as const;
