import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import { type Listener, listen } from '../../../src/rpc/server/server.ts';
import { standalone } from '../../../src/rpc/server/standalone.ts';
import { encodeFrame, STATUS, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES as P, type Procedure } from '../../../src/rpc/wire/procedures.ts';
import { MemoryDomains } from '../../support/fakes/domains-in-memory.ts';
import { FAKE_STATUS, MemorySnapshots } from '../../support/fakes/snapshots-in-memory.ts';
import { RawClient } from '../../support/rpc/raw-client.ts';

/** Connections in a run; each sends many frames. */
const RUNS = 150;

let directory: string;
let listener: Listener;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-hostile-'));
  const hub = new LifecycleHub();
  const options = {
    uri: 'test:///default',
    version: 2n,
    domains: new MemoryDomains(hub),
    snapshots: new MemorySnapshots(hub),
    hub,
  };
  listener = await listen(
    { path: join(directory, 'sock'), readOnly: false, mode: 0o600 },
    standalone({ ...options, status: FAKE_STATUS }),
  );
});

afterAll(async () => {
  await listener[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

const domain = { name: 'test', uuid: '00000000-0000-0000-0000-000000000001', id: 1 };
const snapshot = { name: 's1', domain };
const call = <A>({ number, args }: Procedure<A, unknown>, value: A): Buffer =>
  encodeFrame({ procedure: number, type: TYPE.CALL, serial: 2 }, args, value);

const seeds = [
  call(P.CONNECT_LIST_ALL_DOMAINS, { needResults: 1, flags: 0x1003 }),
  call(P.DOMAIN_LOOKUP_BY_NAME, { name: 'test' }),
  call(P.DOMAIN_DEFINE_XML, { xml: '<name>x</name>' }),
  call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: '<name>s1</name>', flags: 0 }),
  call(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain, maxnames: 16, flags: 0 }),
  call(P.DOMAIN_SNAPSHOT_DELETE, { snapshot, flags: 0 }),
  call(P.DOMAIN_LIST_ALL_SNAPSHOTS, { domain, needResults: 1, flags: 0 }),
  call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain }),
];

/** A seed with some bytes changed, whose length word is mostly left right, so that it is read to its end. */
const mutated = fc
  .record({
    seed: fc.constantFrom(...seeds),
    changes: fc.array(fc.record({ at: fc.nat(), byte: fc.nat(255) }), { maxLength: 4 }),
    keepLength: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
  })
  .map(({ seed, changes, keepLength }) => {
    const frame = Buffer.from(seed);
    for (const { at, byte } of changes) frame[at % frame.length] = byte;
    if (keepLength) frame.writeUInt32BE(frame.length, 0);
    return frame;
  });

/** Sends bytes on a connection of their own, until the server has read them all or has had enough. */
function send(bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(listener.path);
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
    socket.end(bytes);
  });
}

test('no bytes take the server down, or another client’s connection', async () => {
  using bystander = await RawClient.open(listener.path);
  await bystander.call(P.DOMAIN_DEFINE_XML, { xml: '<name>test</name>' });
  const open = call(P.CONNECT_OPEN, { name: 'test:///default', flags: 0 });
  await fc.assert(
    fc.asyncProperty(fc.array(mutated, { maxLength: 40 }), async (frames) => {
      await send(Buffer.concat([open, ...frames]));
      expect(await bystander.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
    }),
    { numRuns: RUNS },
  );
}, 30_000);

test('noise ends its own connection', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (noise) => {
      await send(Buffer.from(noise));
    }),
    { numRuns: RUNS },
  );
  using client = await RawClient.open(listener.path);
  expect((await client.reply(client.send(P.CONNECT_GET_TYPE, undefined))).header.status).toBe(STATUS.OK);
}, 30_000);
