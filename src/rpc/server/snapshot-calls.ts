/** The sixteen snapshot procedures of libvirt's wire, each one call of the snapshot API. */

import { LibvirtError } from '../../errors.ts';
import type { SnapshotApi, SnapshotRef } from '../../snapshots/api.ts';
import { PROCEDURES as P } from '../wire/procedures.ts';
import { LIST_MAX } from '../wire/xdr.ts';
import { type Answers, answer, checkArraySize } from './answers.ts';

/** Answers for the snapshots of `api`. */
export function snapshotAnswers(api: SnapshotApi): Answers {
  return new Map([
    answer(P.DOMAIN_SNAPSHOT_CREATE_XML, async ({ domain, xml, flags }) => ({
      snapshot: await api.createXML(domain, xml, flags),
    })),
    answer(P.DOMAIN_SNAPSHOT_GET_XML_DESC, async ({ snapshot, flags }) => ({
      value: await api.getXMLDesc(snapshot, flags),
    })),
    answer(P.DOMAIN_SNAPSHOT_NUM, async ({ domain, flags }) => ({ value: await api.num(domain, flags) })),
    answer(P.DOMAIN_SNAPSHOT_LIST_NAMES, async ({ domain, maxnames, flags }) => ({
      names: await firstNames(maxnames, () => api.listNames(domain, flags)),
    })),
    answer(P.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, async ({ domain, name, flags }) => ({
      snapshot: await api.lookupByName(domain, name, flags),
    })),
    answer(P.DOMAIN_HAS_CURRENT_SNAPSHOT, async ({ domain, flags }) => ({
      value: Number(await api.hasCurrent(domain, flags)),
    })),
    answer(P.DOMAIN_SNAPSHOT_CURRENT, async ({ domain, flags }) => ({ snapshot: await api.current(domain, flags) })),
    answer(P.DOMAIN_REVERT_TO_SNAPSHOT, ({ snapshot, flags }) => api.revert(snapshot, flags)),
    answer(P.DOMAIN_SNAPSHOT_DELETE, ({ snapshot, flags }) => api.delete(snapshot, flags)),
    answer(P.DOMAIN_SNAPSHOT_GET_PARENT, async ({ snapshot, flags }) => ({
      snapshot: await api.getParent(snapshot, flags),
    })),
    answer(P.DOMAIN_SNAPSHOT_NUM_CHILDREN, async ({ snapshot, flags }) => ({
      value: await api.numChildren(snapshot, flags),
    })),
    answer(P.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, async ({ snapshot, maxnames, flags }) => ({
      names: await firstNames(maxnames, () => api.listChildrenNames(snapshot, flags)),
    })),
    answer(P.DOMAIN_SNAPSHOT_IS_CURRENT, async ({ snapshot, flags }) => ({
      value: Number(await api.isCurrent(snapshot, flags)),
    })),
    answer(P.DOMAIN_SNAPSHOT_HAS_METADATA, async ({ snapshot, flags }) => ({
      value: Number(await api.hasMetadata(snapshot, flags)),
    })),
    answer(P.DOMAIN_LIST_ALL_SNAPSHOTS, async ({ domain, needResults, flags }) =>
      listing(needResults, await api.listAll(domain, flags)),
    ),
    answer(P.DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, async ({ snapshot, needResults, flags }) =>
      listing(needResults, await api.listAllChildren(snapshot, flags)),
    ),
  ]);
}

/** Returns as many as the caller's array holds. */
async function firstNames(maxnames: number, list: () => Promise<readonly string[]>): Promise<readonly string[]> {
  checkArraySize('maxnames', maxnames, 'REMOTE_DOMAIN_SNAPSHOT_LIST_MAX');
  return (await list()).slice(0, maxnames);
}

/** Without `needResults` the caller wants only the number. */
function listing(needResults: number, snapshots: readonly SnapshotRef[]) {
  if (needResults !== 0 && snapshots.length > LIST_MAX) {
    const detail = `Too many snapshots '${snapshots.length}' for limit '${LIST_MAX}'`;
    throw new LibvirtError('RPC', detail, { domain: 'RPC' });
  }
  return { snapshots: needResults === 0 ? [] : snapshots, count: snapshots.length };
}
