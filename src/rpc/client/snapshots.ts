/** The client's side of the sixteen snapshot calls: the same functions as on the server's side (snapshot-calls.ts). */

import type { SnapshotApi } from '../../snapshots/api.ts';
import { LIST_MAX } from '../wire/xdr.ts';
import { CALLS } from './calls.ts';
import type { Send } from './connection.ts';

export type { SnapshotRef } from '../../snapshots/api.ts';

/** The part of the snapshot API that libvirt's protocol has. */
export type SnapshotCalls = Omit<
  SnapshotApi,
  | 'checkCreate'
  | 'setProtected'
  | 'listProtected'
  | 'listRows'
  | 'count'
  | 'job'
  | 'completedJob'
  | 'checkUndefine'
  | 'forget'
>;

/** Returns the snapshot calls of a connection. */
export function snapshotCalls(send: Send): SnapshotCalls {
  return {
    createXML: async (domain, xml, flags) => (await send(CALLS.snapshotCreateXML, { domain, xml, flags })).snapshot,
    getXMLDesc: async (snapshot, flags) => (await send(CALLS.snapshotGetXMLDesc, { snapshot, flags })).value,
    num: async (domain, flags) => (await send(CALLS.snapshotNum, { domain, flags })).value,
    listNames: async (domain, flags) =>
      (await send(CALLS.snapshotListNames, { domain, maxnames: LIST_MAX, flags })).names,
    listAll: async (domain, flags) => (await send(CALLS.listAllSnapshots, { domain, needResults: 1, flags })).snapshots,
    lookupByName: async (domain, name, flags) =>
      (await send(CALLS.snapshotLookupByName, { domain, name, flags })).snapshot,
    hasCurrent: async (domain, flags) => (await send(CALLS.hasCurrentSnapshot, { domain, flags })).value !== 0,
    current: async (domain, flags) => (await send(CALLS.snapshotCurrent, { domain, flags })).snapshot,
    getParent: async (snapshot, flags) => (await send(CALLS.snapshotGetParent, { snapshot, flags })).snapshot,
    numChildren: async (snapshot, flags) => (await send(CALLS.snapshotNumChildren, { snapshot, flags })).value,
    listChildrenNames: async (snapshot, flags) =>
      (await send(CALLS.snapshotListChildrenNames, { snapshot, maxnames: LIST_MAX, flags })).names,
    listAllChildren: async (snapshot, flags) =>
      (await send(CALLS.snapshotListAllChildren, { snapshot, needResults: 1, flags })).snapshots,
    isCurrent: async (snapshot, flags) => (await send(CALLS.snapshotIsCurrent, { snapshot, flags })).value !== 0,
    hasMetadata: async (snapshot, flags) => (await send(CALLS.snapshotHasMetadata, { snapshot, flags })).value !== 0,
    revert: (snapshot, flags) => send(CALLS.revertToSnapshot, { snapshot, flags }),
    delete: (snapshot, flags) => send(CALLS.snapshotDelete, { snapshot, flags }),
  };
}
