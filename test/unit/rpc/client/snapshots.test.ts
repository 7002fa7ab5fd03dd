/** Every snapshot call from its client's side: to a server of our own, which answers with the same API. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { DomainRef } from '../../../../src/model/domain.ts';
import { CALLS } from '../../../../src/rpc/client/calls.ts';
import { RpcClient } from '../../../../src/rpc/client/client.ts';
import type { RemoteCall } from '../../../../src/rpc/client/connection.ts';
import { type SnapshotCalls, snapshotCalls } from '../../../../src/rpc/client/snapshots.ts';
import { refusal } from '../../../support/refusal.ts';
import { Peer } from '../../../support/rpc/peer.ts';

const GUEST: DomainRef = { name: 'g', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 3 };
const S1 = { name: 's1', domain: GUEST };
const S2 = { name: 's2', domain: GUEST };

let directory: string;
let peer: Peer;
let client: RpcClient;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-calls-'));
  peer = new Peer(join(directory, 'sock'));
  await peer.listen();
  client = await RpcClient.connect({ path: peer.path, uri: 'xen:///system' });
});

afterEach(async () => {
  client[Symbol.dispose]();
  await peer[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** One call: what is sent for it, what comes back, and what the caller gets. */
interface Exchange<A, R> {
  readonly call: RemoteCall<A, R>;
  readonly sent: A;
  readonly reply: R;
  readonly result: unknown;
  run(snapshots: SnapshotCalls): Promise<unknown>;
}

const exchange = <A, R>(of: Exchange<A, R>) => [of.call.name, of as unknown as Exchange<unknown, unknown>] as const;

/** REMOTE_DOMAIN_SNAPSHOT_LIST_MAX. */
const maxnames = 16_384;

const EXCHANGES = [
  exchange({
    call: CALLS.snapshotCreateXML,
    run: (snapshots) => snapshots.createXML(GUEST, '<x/>', 3),
    sent: { domain: GUEST, xml: '<x/>', flags: 3 },
    reply: { snapshot: S1 },
    result: S1,
  }),
  exchange({
    call: CALLS.snapshotGetXMLDesc,
    run: (snapshots) => snapshots.getXMLDesc(S1, 1),
    sent: { snapshot: S1, flags: 1 },
    reply: { value: '<x/>' },
    result: '<x/>',
  }),
  exchange({
    call: CALLS.snapshotNum,
    run: (snapshots) => snapshots.num(GUEST, 2),
    sent: { domain: GUEST, flags: 2 },
    reply: { value: 7 },
    result: 7,
  }),
  exchange({
    call: CALLS.snapshotListNames,
    run: (snapshots) => snapshots.listNames(GUEST, 2),
    sent: { domain: GUEST, maxnames, flags: 2 },
    reply: { names: ['s1', 's2'] },
    result: ['s1', 's2'],
  }),
  exchange({
    call: CALLS.listAllSnapshots,
    run: (snapshots) => snapshots.listAll(GUEST, 0x400),
    sent: { domain: GUEST, needResults: 1, flags: 0x400 },
    reply: { snapshots: [S1, S2], count: 2 },
    result: [S1, S2],
  }),
  exchange({
    call: CALLS.snapshotLookupByName,
    run: (snapshots) => snapshots.lookupByName(GUEST, 's1', 0),
    sent: { domain: GUEST, name: 's1', flags: 0 },
    reply: { snapshot: S1 },
    result: S1,
  }),
  exchange({
    call: CALLS.hasCurrentSnapshot,
    run: (snapshots) => snapshots.hasCurrent(GUEST, 0),
    sent: { domain: GUEST, flags: 0 },
    reply: { value: 1 },
    result: true,
  }),
  exchange({
    call: CALLS.snapshotCurrent,
    run: (snapshots) => snapshots.current(GUEST, 0),
    sent: { domain: GUEST, flags: 0 },
    reply: { snapshot: S2 },
    result: S2,
  }),
  exchange({
    call: CALLS.snapshotGetParent,
    run: (snapshots) => snapshots.getParent(S2, 0),
    sent: { snapshot: S2, flags: 0 },
    reply: { snapshot: S1 },
    result: S1,
  }),
  exchange({
    call: CALLS.snapshotNumChildren,
    run: (snapshots) => snapshots.numChildren(S1, 1),
    sent: { snapshot: S1, flags: 1 },
    reply: { value: 3 },
    result: 3,
  }),
  exchange({
    call: CALLS.snapshotListChildrenNames,
    run: (snapshots) => snapshots.listChildrenNames(S1, 1),
    sent: { snapshot: S1, maxnames, flags: 1 },
    reply: { names: ['s2'] },
    result: ['s2'],
  }),
  exchange({
    call: CALLS.snapshotListAllChildren,
    run: (snapshots) => snapshots.listAllChildren(S1, 1),
    sent: { snapshot: S1, needResults: 1, flags: 1 },
    reply: { snapshots: [S2], count: 1 },
    result: [S2],
  }),
  exchange({
    call: CALLS.snapshotIsCurrent,
    run: (snapshots) => snapshots.isCurrent(S1, 0),
    sent: { snapshot: S1, flags: 0 },
    reply: { value: 0 },
    result: false,
  }),
  exchange({
    call: CALLS.snapshotHasMetadata,
    run: (snapshots) => snapshots.hasMetadata(S1, 0),
    sent: { snapshot: S1, flags: 0 },
    reply: { value: 1 },
    result: true,
  }),
  exchange({
    call: CALLS.revertToSnapshot,
    run: (snapshots) => snapshots.revert(S1, 4),
    sent: { snapshot: S1, flags: 4 },
    reply: undefined,
    result: undefined,
  }),
  exchange({
    call: CALLS.snapshotDelete,
    run: (snapshots) => snapshots.delete(S1, 2),
    sent: { snapshot: S1, flags: 2 },
    reply: undefined,
    result: undefined,
  }),
];

test.each(EXCHANGES)('%s', async (_name, { call, run, sent, reply, result }) => {
  const seen: unknown[] = [];
  peer.answer(call, (args) => {
    seen.push(args);
    return reply;
  });
  expect(await run(client.snapshots)).toEqual(result);
  expect(seen).toEqual([sent]);
});

test('these are all that there are', () => {
  const calls = snapshotCalls(() => Promise.reject(new Error('not sent')));
  expect(EXCHANGES).toHaveLength(Object.keys(calls).length);
  expect(new Set(EXCHANGES.map(([name]) => name)).size).toBe(16);
});

test('an error is the server’s own', async () => {
  peer.answer(CALLS.snapshotLookupByName, () => {
    throw new LibvirtError('NO_DOMAIN_SNAPSHOT', "no domain snapshot with matching name 'x'");
  });
  const error = await refusal(client.snapshots.lookupByName(GUEST, 'x', 0));
  expect(error.code).toBe('NO_DOMAIN_SNAPSHOT');
  expect(error.message).toBe("Domain snapshot not found: no domain snapshot with matching name 'x'");
});

describe('beside them', () => {
  test('a domain is found by its id', async () => {
    peer.answer(CALLS.lookupByID, ({ id }) => ({ domain: { ...GUEST, id } }));
    expect(await client.lookupByID(7)).toEqual({ ...GUEST, id: 7 });
  });

  test('a job’s statistics keep their names and types', async () => {
    const params = [
      { field: 'operation', type: 'int', value: 6 },
      { field: 'memory_total', type: 'ullong', value: 1n << 40n },
      { field: 'success', type: 'boolean', value: true },
      { field: 'errmsg', type: 'string', value: 'none' },
    ] as const;
    const asked: number[] = [];
    peer.answer(CALLS.getJobStats, ({ flags }) => {
      asked.push(flags);
      return { type: 2, params };
    });
    expect(await client.getJobStats(GUEST, 1)).toEqual({ type: 2, params });
    expect(asked).toEqual([1]);
  });

  test('a job is aborted, or that is refused', async () => {
    const aborted: unknown[] = [];
    peer.answer(CALLS.abortJob, (args) => void aborted.push(args));
    await client.abortJob(GUEST);
    expect(aborted).toEqual([{ domain: GUEST }]);
    peer.answer(CALLS.abortJob, () => {
      throw new LibvirtError('OPERATION_INVALID', 'no job is active on the domain');
    });
    expect((await refusal(client.abortJob(GUEST))).fields.code).toBe(55);
  });
});
