/** Domains and snapshots, as handles over a connection. */

import { setTimeout as delay } from 'node:timers/promises';
import { isLibvirtError, throwIfCancelled } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { allFlags, COMMIT, JOB_ABORT, JOB_INFO, JOB_SPEED, JOB_STATS, PULL, XML } from '../model/flags.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { SnapshotRef } from '../rpc/client/snapshots.ts';
import type { BlockJobInfo, Domain, Snapshot } from './api.ts';
import { createFlags, deleteFlags, listFlags } from './flags.ts';
import { startJob } from './job.ts';
import { blockJobType, jobStats } from './job-stats.ts';
import { revertTo } from './revert.ts';
import { snapshotDocument } from './snapshot-document.ts';

/** VIR_DOMAIN_START_PAUSED. */
const START_PAUSED = 1;
const POLL_MS = 250;

const bytes = (bandwidth = 0): bigint => BigInt(bandwidth);

/** Returns the handle of a domain. */
export function domainOf(rpc: RpcClient, ref: DomainRef): Domain {
  const { blocks, snapshots } = rpc;
  const snapshot = (found: SnapshotRef): Snapshot => snapshotOf(rpc, found, domain);
  const domain: Domain = {
    ...ref,
    getState: () => rpc.getStateAndReason(ref),
    isPersistent: () => rpc.isPersistent(ref),
    getXMLDesc: ({ secure, inactive } = {}) =>
      rpc.getXMLDesc(ref, (secure ? XML.SECURE : 0) | (inactive ? XML.INACTIVE : 0)),
    create: async ({ paused } = {}) => domainOf(rpc, await rpc.createWithFlags(ref, paused ? START_PAUSED : 0)),
    shutdown: () => rpc.shutdown(ref),
    destroy: () => rpc.destroy(ref),
    suspend: () => rpc.suspend(ref),
    resume: () => rpc.resume(ref),

    snapshotCreate(request = {}, options) {
      const xml = request.xml ?? snapshotDocument(request);
      const create = async () => snapshot(await snapshots.createXML(ref, xml, createFlags(request)));
      return startJob(rpc, ref, create, options);
    },
    snapshotCheck: (request = {}) =>
      rpc.checkCreate(ref, request.xml ?? snapshotDocument(request), createFlags(request)),
    listAllSnapshots: async (filter = {}) => (await snapshots.listAll(ref, listFlags(filter))).map(snapshot),
    snapshotLookupByName: async (name) => snapshot(await snapshots.lookupByName(ref, name, 0)),
    snapshotCurrent: () => unlessNone(async () => snapshot(await snapshots.current(ref, 0))),

    getJobStats: async () => jobStats(await rpc.getJobStats(ref, 0)),
    getCompletedJobStats: async () => jobStats(await rpc.getJobStats(ref, allFlags(JOB_STATS))),
    abortJob: () => rpc.abortJob(ref),

    blockCommit(disk, { base, top, shallow, active, bandwidth, ...options } = {}) {
      const flags =
        (shallow ? COMMIT.SHALLOW : 0) |
        (active ? COMMIT.ACTIVE : 0) |
        (options.delete ? COMMIT.DELETE : 0) |
        COMMIT.BANDWIDTH_BYTES;
      return blocks.commit(ref, { disk, base, top, flags }, bytes(bandwidth));
    },
    blockPull: (disk, { base, bandwidth } = {}) =>
      blocks.pull(ref, { disk, base, flags: PULL.BANDWIDTH_BYTES }, bytes(bandwidth)),
    getBlockJobInfo: (disk) => blockJobInfo(rpc, ref, disk),
    async *blockJobProgress(disk, { signal } = {}) {
      for (;;) {
        if (signal) throwIfCancelled(signal);
        const info = await blockJobInfo(rpc, ref, disk);
        if (!info) return;
        yield info;
        // An active commit stays when all is copied; another job is about to end.
        if (info.type !== 'pull' && info.type !== 'commit' && info.end > 0 && info.cur === info.end) return;
        await delay(POLL_MS, undefined, { ...(signal && { signal }) }).catch(() => {});
      }
    },
    blockJobAbort: (disk, { pivot, async } = {}) =>
      blocks.abort(ref, disk, (pivot ? JOB_ABORT.PIVOT : 0) | (async ? JOB_ABORT.ASYNC : 0)),
    blockJobSetSpeed: (disk, bandwidth) => blocks.setSpeed(ref, disk, bytes(bandwidth), JOB_SPEED.BANDWIDTH_BYTES),
  };
  return domain;
}

async function blockJobInfo(rpc: RpcClient, ref: DomainRef, disk: string): Promise<BlockJobInfo | undefined> {
  const job = await rpc.blocks.jobInfo(ref, disk, JOB_INFO.BANDWIDTH_BYTES);
  if (!job) return undefined;
  const { type, bandwidth, cur, end } = job;
  return { type: blockJobType(type), bandwidth: Number(bandwidth), cur: Number(cur), end: Number(end) };
}

function snapshotOf(rpc: RpcClient, ref: SnapshotRef, domain: Domain): Snapshot {
  const { snapshots } = rpc;
  const sibling = (found: SnapshotRef): Snapshot => snapshotOf(rpc, found, domain);
  return {
    name: ref.name,
    domain,
    getXMLDesc: ({ secure } = {}) => snapshots.getXMLDesc(ref, secure ? XML.SECURE : 0),
    getParent: () => unlessNone(async () => sibling(await snapshots.getParent(ref, 0))),
    listAllChildren: async (filter = {}) => (await snapshots.listAllChildren(ref, listFlags(filter))).map(sibling),
    numChildren: (options = {}) => snapshots.numChildren(ref, listFlags(options)),
    isCurrent: () => snapshots.isCurrent(ref, 0),
    hasMetadata: () => snapshots.hasMetadata(ref, 0),
    revert: (request = {}, options) => startJob(rpc, ref.domain, () => revertTo(rpc.snapshots, ref, request), options),
    delete: (request = {}, options) =>
      startJob(rpc, ref.domain, () => snapshots.delete(ref, deleteFlags(request)), options),
  };
}

/** Undefined if libvirt says that there is no such snapshot. */
async function unlessNone(find: () => Promise<Snapshot>): Promise<Snapshot | undefined> {
  try {
    return await find();
  } catch (error) {
    if (isLibvirtError(error, 'NO_DOMAIN_SNAPSHOT')) return undefined;
    throw error;
  }
}
