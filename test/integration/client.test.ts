/** The daemon's own client against a real libvirtd with its test driver. */

import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { DomainRef } from '../../src/model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../src/model/events.ts';
import { DELETE, LIST, XML } from '../../src/model/flags.ts';
import { RpcClient } from '../../src/rpc/client/client.ts';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { refusal } from '../support/refusal.ts';
import { virsh } from '../support/virsh.ts';

const URI = 'test:///default';
const TEST_UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const GUEST_UUID = '11111111-2222-3333-4444-777777777777';
const GUEST_XML = `<domain type='test'><name>g</name><uuid>${GUEST_UUID}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>`;
const WAIT_MS = 10_000;
/** A machine that does much else at the same time is ten times slower than an idle one. */
const TEST_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

jest.setTimeout(TEST_TIMEOUT_MS);

let libvirtd: Libvirtd;
let client: RpcClient;
let events: { readonly name: string; readonly event: LifecycleEvent }[];

beforeEach(async () => {
  libvirtd = await startLibvirtd();
  client = await RpcClient.connect({ path: libvirtd.socket, uri: URI });
  events = [];
  client.onLifecycle(({ name }, event) => events.push({ name, event }));
});

afterEach(async () => {
  client[Symbol.dispose]();
  await libvirtd[Symbol.asyncDispose]();
});

async function seen(name: string, ...expected: readonly LifecycleEvent[]): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (events.length < expected.length && performance.now() < end) await delay(POLL_MS);
  expect(events).toEqual(expected.map((event) => ({ name, event })));
  events.length = 0;
}

test('finds the domains that are there, by every way to find one', async () => {
  const guest: DomainRef = { name: 'test', uuid: TEST_UUID, id: 1 };
  expect(await client.getType()).toBe('TEST');
  expect(await client.listAllDomains()).toEqual([guest]);
  expect(await client.lookupByName('test')).toEqual(guest);
  expect(await client.lookupByUUID(TEST_UUID)).toEqual(guest);
  expect(await client.getState(guest)).toBe('running');
  expect(await client.isPersistent(guest)).toBe(true);
  expect(await client.getXMLDesc(guest, XML.SECURE)).toContain("<domain type='test' id='1'>");
  expect(await client.getXMLDesc(guest, XML.SECURE | XML.INACTIVE)).toContain("<domain type='test'>");
});

test('takes, lists, reverts to and deletes snapshots, of libvirt’s own driver as of ours', async () => {
  const guest = await client.lookupByID(1);
  const { snapshots } = client;
  const first = await snapshots.createXML(guest, '<domainsnapshot><name>s1</name></domainsnapshot>', 0);
  const second = await snapshots.createXML(guest, '<domainsnapshot><name>s2</name></domainsnapshot>', 0);
  expect(second).toEqual({ name: 's2', domain: guest });
  expect(await snapshots.listAll(guest, LIST.TOPOLOGICAL)).toEqual([first, second]);
  expect(await snapshots.listNames(guest, 0)).toEqual(expect.arrayContaining(['s1', 's2']));
  expect(await snapshots.num(guest, LIST.ROOTS)).toBe(1);
  expect(await snapshots.lookupByName(guest, 's1', 0)).toEqual(first);
  expect(await snapshots.getParent(second, 0)).toEqual(first);
  expect((await refusal(snapshots.getParent(first, 0))).code).toBe('NO_DOMAIN_SNAPSHOT');
  expect(await snapshots.listAllChildren(first, 0)).toEqual([second]);
  expect(await snapshots.listChildrenNames(first, LIST.DESCENDANTS)).toEqual(['s2']);
  expect(await snapshots.numChildren(second, 0)).toBe(0);
  expect(await snapshots.current(guest, 0)).toEqual(second);
  expect(await snapshots.isCurrent(first, 0)).toBe(false);
  expect(await snapshots.hasMetadata(first, 0)).toBe(true);
  expect(await snapshots.getXMLDesc(first, 0)).toMatch(/^<domainsnapshot>\n {2}<name>s1<\/name>/);
  await snapshots.revert(first, 0);
  expect(await snapshots.current(guest, 0)).toEqual(first);
  await snapshots.delete(first, DELETE.CHILDREN);
  expect(await snapshots.hasCurrent(guest, 0)).toBe(false);
  expect((await refusal(client.getJobStats(guest, 0))).code).toBe('NO_SUPPORT');
  expect((await refusal(client.abortJob(guest))).code).toBe('NO_SUPPORT');
});

test('a domain that is not there is libvirtd’s own error', async () => {
  const error = await refusal(client.lookupByUUID(GUEST_UUID));
  expect(error.code).toBe('NO_DOMAIN');
  expect(error.fields).toMatchObject({ code: 42, domain: 12 });
  expect(error.message).toBe(`Domain not found`);
});

test('a domain’s whole life: defined, started, suspended, saved, restored, destroyed; with its events', async () => {
  const defined = await client.defineXML(GUEST_XML);
  expect(defined).toEqual({ name: 'g', uuid: GUEST_UUID, id: -1 });
  await seen('g', LIFECYCLE.DEFINED_ADDED);

  const started = await client.createWithFlags(defined, 0);
  expect(started.id).toBeGreaterThan(0);
  await seen('g', LIFECYCLE.STARTED_BOOTED);

  await client.suspend(started);
  expect(await client.getState(started)).toBe('paused');
  await client.resume(started);
  await seen('g', LIFECYCLE.SUSPENDED_PAUSED, LIFECYCLE.RESUMED_UNPAUSED);

  const image = join(libvirtd.directory, 'home', 'g.save');
  await client.saveFlags(started, image, 0);
  expect(await client.getState(started)).toBe('shutoff');
  expect(await client.saveImageGetXMLDesc(image, 0)).toContain(GUEST_UUID);
  await client.restoreFlags(image, 0);
  expect((await client.lookupByUUID(GUEST_UUID)).id).toBeGreaterThan(started.id);
  await seen('g', LIFECYCLE.STOPPED_SAVED, LIFECYCLE.STARTED_RESTORED);

  await client.destroy(started);
  await seen('g', LIFECYCLE.STOPPED_DESTROYED);
  await client.createWithFlags(defined, 0);
  await client.shutdown(defined);
  await seen('g', LIFECYCLE.STARTED_BOOTED, LIFECYCLE.STOPPED_SHUTDOWN);
});

test('what the driver cannot do is refused in libvirtd’s words', async () => {
  const guest = await client.lookupByName('test');
  expect((await refusal(client.pmSuspendForDuration(guest, 0))).message).toBe(
    'this function is not supported by the connection driver: virDomainPMSuspendForDuration',
  );
  expect((await refusal(client.pmWakeup(guest))).fields.code).toBe(3);
  expect((await refusal(client.createWithFlags(guest, 1))).message).toBe(
    'unsupported flags (0x1) in function testDomainCreateWithFlags',
  );
});

test('a read-only client is refused what changes anything', async () => {
  using readOnly = await RpcClient.connect({ path: libvirtd.socket, uri: URI, readOnly: true });
  const guest = await readOnly.lookupByName('test');
  expect((await refusal(readOnly.destroy(guest))).message).toBe(
    'operation forbidden: read only access prevents virDomainDestroy',
  );
});

test('libvirtd’s restart costs nothing but the calls under way', async () => {
  const path = join(libvirtd.directory, 'link');
  await symlink(libvirtd.socket, path);
  using restarted = await RpcClient.connect({ path, uri: URI });
  restarted.onLifecycle(({ name }, event) => events.push({ name, event }));
  await libvirtd.kill();
  expect((await refusal(restarted.getType())).message).toContain(`Failed to connect socket to '${path}'`);

  await using next = await startLibvirtd();
  await rm(path);
  await symlink(next.socket, path);
  expect(await restarted.getType()).toBe('TEST');
  await virsh(`test+unix:///default?socket=${next.socket}`, 'suspend', 'test');
  await seen('test', LIFECYCLE.SUSPENDED_PAUSED);
});
