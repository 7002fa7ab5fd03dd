/** What a client may send and hold at most (libvirt's own limits), and what one that goes beyond does to others: nothing. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { LIFECYCLE } from '../../../src/model/events.ts';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import { type Listener, listen } from '../../../src/rpc/server/server.ts';
import { standalone } from '../../../src/rpc/server/standalone.ts';
import { type Codec, struct } from '../../../src/rpc/wire/codec.ts';
import { FRAME_MAX, HEADER_BYTES } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES as P } from '../../../src/rpc/wire/procedures.ts';
import { LIST_MAX, STRING_MAX } from '../../../src/rpc/wire/xdr.ts';
import { MemoryDomains } from '../../support/fakes/domains-in-memory.ts';
import { FAKE_STATUS, MemorySnapshots } from '../../support/fakes/snapshots-in-memory.ts';
import { RawClient } from '../../support/rpc/raw-client.ts';

const MIB = 1024 * 1024;
const UNDECODABLE = { code: 39, domain: 7, message: 'Unable to decode message payload' };

let directory: string;
let listener: Listener;
let hub: LifecycleHub;
let snapshots: MemorySnapshots;
let domain: { readonly name: string; readonly uuid: string; readonly id: number };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-limits-'));
  hub = new LifecycleHub();
  const domains = new MemoryDomains(hub);
  domain = await domains.create(await domains.define('<name>test</name>'), { paused: false });
  snapshots = new MemorySnapshots(hub);
  const handler = standalone({ uri: 'test:///default', version: 2n, domains, snapshots, hub, status: FAKE_STATUS });
  listener = await listen({ path: join(directory, 'sock'), readOnly: false, mode: 0o600 }, handler);
});

afterAll(async () => {
  await listener[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

/** Zeros as a payload of any length. */
const zeros = (bytes: number) => {
  const codec: Codec<void> = { max: bytes, write: (writer) => writer.opaque(Buffer.alloc(bytes)), read: () => {} };
  return { number: P.DOMAIN_DEFINE_XML.number, args: codec, result: codec };
};

test('a message of 16 MiB is read and answered; one that says it is larger ends its connection, and no other', async () => {
  using client = await RawClient.open(listener.path);
  using bystander = await RawClient.open(listener.path);
  const largest = FRAME_MAX - HEADER_BYTES;
  expect(await client.error(client.send(zeros(largest), undefined))).toMatchObject(UNDECODABLE);
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32BE(FRAME_MAX + 1);
  client.socket.write(head);
  await client.closed();
  expect(await bystander.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
});

test('a string of 4 MiB is taken; one byte more is undecodable, and the connection goes on', async () => {
  using client = await RawClient.open(listener.path);
  const name = '<name>large</name>';
  const xml = name + ' '.repeat(STRING_MAX - name.length);
  const { snapshot } = await client.call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml, flags: 0 });
  expect(snapshot.name).toBe('large');
  const longer: Codec<number> = {
    max: STRING_MAX,
    write: (writer, length) => {
      writer.uint(length);
      writer.opaque(Buffer.alloc(length, 0x20));
    },
    read: (reader) => reader.uint(),
  };
  const { number, result } = P.DOMAIN_DEFINE_XML;
  const define = { number, args: struct({ xml: longer }), result };
  expect(await client.error(client.send(define, { xml: STRING_MAX + 1 }))).toMatchObject(UNDECODABLE);
  await client.call(P.DOMAIN_SNAPSHOT_DELETE, { snapshot, flags: 0 });
});

test('a list of 16,384 snapshots is sent; of one more only the number', async () => {
  using client = await RawClient.open(listener.path);
  const before = await snapshots.num(domain);
  for (let n = before; n < LIST_MAX; n += 1) await snapshots.createXML(domain, `<name>n${n}</name>`);
  const args = { domain, needResults: 1, flags: 0 };
  expect((await client.call(P.DOMAIN_LIST_ALL_SNAPSHOTS, args)).snapshots).toHaveLength(LIST_MAX);
  await snapshots.createXML(domain, '<name>beyond</name>');
  expect(await client.error(client.send(P.DOMAIN_LIST_ALL_SNAPSHOTS, args))).toMatchObject({
    code: 39,
    message: `Too many snapshots '${LIST_MAX + 1}' for limit '${LIST_MAX}'`,
  });
  const { count } = await client.call(P.DOMAIN_LIST_ALL_SNAPSHOTS, { ...args, needResults: 0 });
  expect(count).toBe(LIST_MAX + 1);
  expect(await client.error(client.send(P.CONNECT_LIST_DOMAINS, { maxids: LIST_MAX + 1 }))).toMatchObject({ code: 39 });
});

test('a message that is only claimed costs nothing: a hundred of 16 MiB each, never sent', async () => {
  using bystander = await RawClient.open(listener.path);
  const before = process.memoryUsage().rss;
  const clients = await Promise.all(Array.from({ length: 100 }, () => RawClient.open(listener.path)));
  const head = Buffer.alloc(HEADER_BYTES + 100);
  head.writeUInt32BE(FRAME_MAX);
  head.writeUInt32BE(0x20008086, 4);
  head.writeUInt32BE(1, 8);
  for (const client of clients) client.socket.write(head);
  expect(await bystander.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
  for (const client of clients) client.socket.destroy();
});

test('a client that takes no events is given up, and one that does has them all', async () => {
  using stuck = await RawClient.open(listener.path);
  using reader = await RawClient.open(listener.path);
  for (const client of [stuck, reader]) {
    await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
  }
  stuck.socket.pause();
  const long = { ...domain, name: 'x'.repeat(65_000) };
  const rounds = 1_200;
  for (let round = 0; round < rounds; round += 1) {
    hub.emit(long, LIFECYCLE.RESUMED_UNPAUSED);
    await reader.next(({ header }) => header.length > 65_000);
  }
  stuck.socket.resume();
  await stuck.closed();
  expect(stuck.frames.length).toBeLessThan(rounds);
  expect(await reader.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
}, 30_000);
