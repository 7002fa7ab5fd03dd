import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { LIFECYCLE } from '../../src/model/events.ts';
import { proxy } from '../../src/rpc/proxy/proxy.ts';
import { type EventClient, LifecycleHub } from '../../src/rpc/server/lifecycle-hub.ts';
import { type Listener, listen } from '../../src/rpc/server/server.ts';
import { nothing, struct, uint } from '../../src/rpc/wire/codec.ts';
import { decodePayload, TYPE } from '../../src/rpc/wire/frames.ts';
import { domain, LIFECYCLE_EVENT, lifecycleMessage } from '../../src/rpc/wire/messages.ts';
import { CONNECT, PROCEDURES as P } from '../../src/rpc/wire/procedures.ts';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { MemorySnapshots, NOTHING_ELSE } from '../support/fakes/snapshots-in-memory.ts';
import { RawClient } from '../support/rpc/raw-client.ts';
import { virsh } from '../support/virsh.ts';

/** The test driver's own domain. */
const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/** Lets a test wait until its clients have registered. */
class WatchedHub extends LifecycleHub {
  registrations = 0;

  override attach(send: (frame: Buffer) => void): EventClient {
    const client = super.attach(send);
    const register: EventClient['register'] = (id, uuid, eventID = 0) => {
      client.register(id, uuid, eventID);
      if (eventID === 0) this.registrations += 1;
    };
    return { ...client, register };
  }

  async reached(registrations: number): Promise<void> {
    const until = performance.now() + 5_000;
    while (this.registrations < registrations && performance.now() < until) await delay(10);
    expect(this.registrations).toBe(registrations);
  }
}

let libvirtd: Libvirtd;
let directory: string;
let listeners: readonly Listener[];
let hub: WatchedHub;
let snapshots: MemorySnapshots;
let uri: string;
let readOnlyUri: string;

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-proxy-'));
  hub = new WatchedHub();
  snapshots = new MemorySnapshots(hub);
  const handler = proxy(options());
  const path = join(directory, 'sock');
  listeners = [
    await listen({ path, readOnly: false, mode: 0o600 }, handler),
    await listen({ path: `${path}-ro`, readOnly: true, mode: 0o600 }, handler),
  ];
  uri = `test+unix:///default?socket=${path}`;
  readOnlyUri = `test+unix:///default?socket=${path}-ro`;
}, 60_000);

afterAll(async () => {
  for (const listener of listeners) await listener[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const options = () => ({
  upstream: libvirtd.socket,
  upstreamReadOnly: () => libvirtd.socket,
  snapshots,
  hub,
  ...NOTHING_ELSE,
});

const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await virsh(uri, ...args);
  if (ran.status !== 0) throw new Error(`virsh ${args.join(' ')}: ${ran.stderr}`);
  return ran.stdout;
};

test('what is not about snapshots is the upstream', async () => {
  expect(await out('list', '--all', '--name')).toBe('test');
  expect(await out('domstate', 'test')).toBe('running');
  expect(await out('domuuid', 'test')).toBe(UUID);
  expect(await out('dumpxml', 'test')).toBe(
    (await virsh(`test+unix:///default?socket=${libvirtd.socket}`, 'dumpxml', 'test')).stdout,
  );
  expect((await virsh(uri, 'domstate', 'none')).stderr).toContain("failed to get domain 'none'");
});

test('snapshots are answered here', async () => {
  expect(await out('snapshot-list', 'test', '--name')).toBe('');
  expect((await virsh(uri, 'snapshot-current', 'test')).stderr).toContain("domain 'test' has no current snapshot");
  expect(await out('snapshot-create-as', 'test', 's1', 'first')).toBe('Domain snapshot s1 created');
  expect(await out('snapshot-create-as', 'test', 's2')).toBe('Domain snapshot s2 created');
  expect(await out('snapshot-list', 'test', '--tree')).toBe('s1\n  |\n  +- s2');
  expect(await out('snapshot-current', 'test', '--name')).toBe('s2');
  expect(await out('snapshot-parent', 'test', 's2')).toBe('s1');
  expect(await out('snapshot-info', 'test', 's1')).toMatch(
    /Current:\s+no[\s\S]*Children:\s+1\nDescendants:\s+1\nMetadata:\s+yes/,
  );
  expect(await out('snapshot-dumpxml', 'test', 's1')).toContain('<description>first</description>');
  expect(await out('snapshot-revert', 'test', 's1')).toContain('reverted');
  expect(await out('snapshot-delete', 'test', 's2')).toBe('Domain snapshot s2 deleted');
  const again = await virsh(uri, 'snapshot-create-as', 'test', 's1');
  expect(again).toMatchObject({ status: 1, stderr: 'error: operation failed: domain snapshot s1 already exists' });
  const missing = await virsh(uri, 'snapshot-dumpxml', 'test', 's2');
  expect(missing.stderr).toContain("Domain snapshot not found: no domain snapshot with matching name 's2'");
});

test('domains are listed by whether they have snapshots', async () => {
  expect(await out('list', '--all', '--name', '--with-snapshot')).toBe('test');
  expect(await out('list', '--all', '--name', '--without-snapshot')).toBe('');
  expect(await out('list', '--all', '--name', '--with-snapshot', '--without-snapshot')).toBe('test');
  await out('snapshot-delete', 'test', 's1');
  expect(await out('list', '--all', '--name', '--with-snapshot')).toBe('');
  expect(await out('list', '--all', '--name', '--without-snapshot')).toBe('test');
});

test('an inactive domain with snapshots is undefined only together with their metadata', async () => {
  const xml = join(directory, 'gone.xml');
  await writeFile(xml, '<domain type="test"><name>gone</name><memory>4096</memory><os><type>hvm</type></os></domain>');
  await out('define', xml);
  await out('snapshot-create-as', 'gone', 's1');
  const refused = await virsh(uri, 'undefine', 'gone');
  expect(refused.stderr).toContain('Requested operation is not valid: cannot delete inactive domain with 1 snapshots');
  expect(await out('list', '--all', '--name')).toContain('gone');
  expect(await out('undefine', 'gone', '--snapshots-metadata')).toContain('undefined');
  expect(await out('list', '--all', '--name')).toBe('test');
  await out('define', xml);
  expect(await out('snapshot-list', 'gone', '--name')).toBe('');
  await out('undefine', 'gone');
});

test('a read-only connection may look, and nothing else', async () => {
  expect(await virsh(readOnlyUri, 'snapshot-list', 'test')).toMatchObject({ status: 0, stderr: '' });
  const forbidden = 'operation forbidden: read only access prevents virDomainSnapshotCreateXML';
  // Our read-only socket, though virsh does not ask for a read-only connection.
  expect((await virsh(readOnlyUri, 'snapshot-create-as', 'test', 's1')).stderr).toContain(forbidden);
  expect((await virsh(readOnlyUri, 'suspend', 'test')).stderr).toContain('read only access prevents virDomainSuspend');
  // Our read-write socket, opened with the flag.
  using client = await RawClient.open(join(directory, 'sock'), 'test:///default', CONNECT.RO);
  const domain = { name: 'test', uuid: UUID, id: 1 };
  const create = client.send(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: '<domainsnapshot/>', flags: 0 });
  expect(await client.error(create)).toMatchObject({ code: 29, domain: 35, message: forbidden });
});

test('events of both sides come in order, each with its own callback ID', async () => {
  await out('snapshot-create-as', 'test', 'e1');
  const before = hub.registrations;
  const listener = virsh(uri, 'event', '--domain', 'test', '--event', 'lifecycle', '--loop', '--timeout', '3');
  const all = virsh(uri, 'event', '--event', 'lifecycle', '--loop', '--timeout', '3');
  await hub.reached(before + 2);
  await out('suspend', 'test');
  await out('resume', 'test');
  await out('snapshot-revert', 'test', 'e1');
  const events = (details: string) =>
    [...details.matchAll(/'lifecycle' for domain 'test': (.*)/g)].map(([, event]) => event);
  for (const child of [listener, all]) {
    expect(events((await child).stdout)).toEqual([
      'Suspended Paused',
      'Resumed Unpaused',
      'Stopped Snapshot',
      'Started Snapshot',
    ]);
  }
  await out('snapshot-delete', 'test', 'e1');
}, 20_000);

test('expected events of the upstream are rewritten or hidden, once per callback', async () => {
  using client = await RawClient.open(join(directory, 'sock'));
  const domain = { name: 'test', uuid: UUID, id: 1 };
  const all = await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
  const one = await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain });
  const hidden = hub.expect(UUID, LIFECYCLE.SUSPENDED_PAUSED);
  const rewritten = hub.expect(UUID, LIFECYCLE.RESUMED_UNPAUSED, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
  for (let round = 0; round < 2; round += 1) {
    await client.call(P.DOMAIN_SUSPEND, { domain });
    await client.call(P.DOMAIN_RESUME, { domain });
  }
  hidden[Symbol.dispose]();
  rewritten[Symbol.dispose]();
  const seen: Record<number, string[]> = { [all.callbackID]: [], [one.callbackID]: [] };
  for (let count = 0; count < 6; count += 1) {
    const { bytes } = await client.next(({ header }) => header.procedure === LIFECYCLE_EVENT);
    const { callbackID, event, detail, domain } = decodePayload(lifecycleMessage, bytes);
    expect(domain.name).toBe('test');
    seen[callbackID]?.push(`${event}/${detail}`);
  }
  expect(seen).toEqual({ [all.callbackID]: ['4/2', '3/0', '4/0'], [one.callbackID]: ['4/2', '3/0', '4/0'] });
});

test('a long call holds up no other, and its end may be waited for by nobody', async () => {
  let finish = (): void => {};
  snapshots.gate = new Promise((resolve) => {
    finish = resolve;
  });
  using client = await RawClient.open(join(directory, 'sock'));
  const domain = { name: 'test', uuid: UUID, id: 1 };
  const create = client.send(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: '<name>long</name>', flags: 0 });
  expect(await client.call(P.DOMAIN_GET_STATE, { domain, flags: 0 })).toMatchObject({ state: 1 });
  expect(await client.call(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 })).toEqual({ value: 0 });
  using vanishing = await RawClient.open(join(directory, 'sock'));
  vanishing.send(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: '<name>orphan</name>', flags: 0 });
  vanishing.socket.end();
  await vanishing.closed();
  finish();
  expect((await client.reply(create)).header.status).toBe(0);
  expect(await out('snapshot-list', 'test', '--name')).toBe('long\norphan');
});

test('file descriptors are not to be had: a client that asks is told so, one that sends some is cut off', async () => {
  using client = await RawClient.open(join(directory, 'sock'));
  expect(await client.call(P.CONNECT_SUPPORTS_FEATURE, { feature: 8 })).toEqual({ supported: 0 });
  expect(await client.call(P.CONNECT_SUPPORTS_FEATURE, { feature: 14 })).toEqual({ supported: 1 });
  const withFds = { number: 310, args: struct({ fds: uint, domain }), result: nothing };
  const test = { name: 'test', uuid: UUID, id: 1 };
  client.send(withFds, { fds: 2, domain: test }, { type: TYPE.CALL_WITH_FDS });
  await client.closed();
});

test('nothing of ours is answered before the connection is open', async () => {
  using client = new RawClient(join(directory, 'sock'));
  const domain = { name: 'test', uuid: UUID, id: 1 };
  const early = client.send(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 });
  expect(await client.error(early)).toMatchObject({
    code: 1,
    message: 'internal error: hypervisor connection not open',
  });
});

test('what cannot be decoded is an error reply; what is no frame ends that connection only', async () => {
  using bystander = await RawClient.open(join(directory, 'sock'));
  using client = await RawClient.open(join(directory, 'sock'));
  const short = { number: P.DOMAIN_SNAPSHOT_NUM.number, args: uint, result: nothing };
  const undecodable = { code: 39, domain: 7, message: 'Unable to decode message payload' };
  expect(await client.error(client.send(short, 7))).toMatchObject(undecodable);
  for (const { number } of [P.CONNECT_LIST_ALL_DOMAINS, P.DOMAIN_UNDEFINE_FLAGS]) {
    expect(await client.error(client.send({ ...short, number }, 7))).toMatchObject(undecodable);
  }
  client.socket.write(Buffer.alloc(28));
  await client.closed();
  expect(await bystander.call(P.CONNECT_LIST_ALL_DOMAINS, { needResults: 0, flags: 0x1000 })).toEqual({
    domains: [],
    count: 1,
  });
});

describe('through the stream procedures', () => {
  test('a screenshot comes as the upstream has it', async () => {
    const [ours, theirs] = ['ours', 'theirs'].map((name) => join(directory, name)) as [string, string];
    await out('screenshot', 'test', ours);
    await virsh(`test+unix:///default?socket=${libvirtd.socket}`, 'screenshot', 'test', theirs);
    expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);
    expect((await stat(ours)).size).toBeGreaterThan(30_000);
  });

  test('a volume of 32 MiB goes up and comes down unchanged', async () => {
    const pools = `qemu+unix:///session?socket=${join(directory, 'sock')}`;
    const run = async (...args: readonly string[]): Promise<void> => {
      expect(await virsh(pools, ...args)).toMatchObject({ status: 0, stderr: '' });
    };
    const target = join(libvirtd.directory, 'data', 'pool');
    const [up, down] = ['up', 'down'].map((name) => join(directory, name)) as [string, string];
    const bytes = randomBytes(32 * 1024 * 1024);
    await writeFile(up, bytes);
    await run('pool-create-as', 'pool', 'dir', '--target', target, '--build');
    await run('vol-create-as', 'pool', 'volume', '32M', '--format', 'raw');
    await run('vol-upload', '--pool', 'pool', 'volume', up);
    await run('vol-download', '--pool', 'pool', 'volume', down);
    expect((await readFile(down)).equals(bytes)).toBe(true);
  }, 30_000);
});

describe('the upstream', () => {
  test('may be another driver than the client names', async () => {
    const handler = proxy({ ...options(), upstreamUri: 'test:///default' });
    await using listener = await listen({ path: join(directory, 'xen'), readOnly: false, mode: 0o600 }, handler);
    const xen = await virsh(`xen+unix:///system?socket=${listener.path}`, 'list', '--name');
    expect(xen).toMatchObject({ status: 0, stdout: 'test' });
  });

  test('that is not there is named to the client, which is then closed', async () => {
    const upstream = join(directory, 'nobody');
    const handler = proxy({ ...options(), upstream });
    await using listener = await listen({ path: join(directory, 'alone'), readOnly: false, mode: 0o600 }, handler);
    const text = `Failed to connect socket to '${upstream}': No such file or directory`;
    expect((await virsh(`test+unix:///default?socket=${listener.path}`, 'list')).stderr).toContain(`error: ${text}`);
    using client = new RawClient(listener.path);
    const call = client.send(P.AUTH_LIST, undefined);
    expect(await client.error(call)).toMatchObject({ code: 38, domain: 7, message: text, int1: 2 });
    await client.closed();
  });

  test('that dies takes its clients with it, and the next ones are told that it is gone', async () => {
    await using first = await startLibvirtd();
    const handler = proxy({ ...options(), upstream: first.socket });
    await using listener = await listen({ path: join(directory, 'short'), readOnly: false, mode: 0o600 }, handler);
    const before = hub.registrations;
    const waiting = virsh(`test+unix:///default?socket=${listener.path}`, 'event', '--event', 'lifecycle', '--loop');
    using client = await RawClient.open(listener.path);
    await hub.reached(before + 1);
    await first.kill();
    await client.closed();
    expect((await waiting).stderr).toMatch(/Disconnected from .* due to end of file/);
    await expect(RawClient.open(listener.path)).rejects.toThrow(/Failed to connect socket/);
  }, 30_000);
});
