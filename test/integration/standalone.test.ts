import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { LifecycleHub } from '../../src/rpc/server/lifecycle-hub.ts';
import { type Listener, listen } from '../../src/rpc/server/server.ts';
import { standalone } from '../../src/rpc/server/standalone.ts';
import { nothing, uint } from '../../src/rpc/wire/codec.ts';
import { KEEPALIVE, PROGRAM, TYPE } from '../../src/rpc/wire/frames.ts';
import { CONNECT, PROCEDURES as P, type Procedure } from '../../src/rpc/wire/procedures.ts';
import { MemoryDomains } from '../support/fakes/domains-in-memory.ts';
import { FAKE_STATUS, MemorySnapshots } from '../support/fakes/snapshots-in-memory.ts';
import { RawClient } from '../support/rpc/raw-client.ts';
import { virsh } from '../support/virsh.ts';

const NAME = 'test:///default';

let directory: string;
let listener: Listener;
let uri: string;
let snapshots: MemorySnapshots;
let domain: { readonly name: string; readonly uuid: string; readonly id: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-standalone-'));
  const hub = new LifecycleHub();
  const domains = new MemoryDomains(hub);
  domain = await domains.create(await domains.define('<name>test</name>'), { paused: false });
  snapshots = new MemorySnapshots(hub);
  const handler = standalone({ uri: NAME, version: 2n, domains, snapshots, hub, status: FAKE_STATUS });
  listener = await listen({ path: join(directory, 'sock'), readOnly: false, mode: 0o600 }, handler);
  uri = `test+unix:///default?socket=${listener.path}`;
});

afterAll(async () => {
  await listener[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await virsh(uri, ...args);
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  return ran.stdout;
};

test('virsh looks at domains and at the host', async () => {
  expect(await out('list', '--all')).toMatch(/ 1 {4}test {3}running/);
  expect(await out('domstate', 'test')).toBe('running');
  expect(await out('dominfo', 'test')).toMatch(
    /OS Type:\s+hvm[\s\S]*CPU\(s\):\s+2\nMax memory:\s+65536 KiB\nUsed memory:\s+32768 KiB/,
  );
  expect(await out('dumpxml', 'test')).toContain('<name>test</name>');
  expect(await out('domuuid', '1')).toBe(domain.uuid);
  expect(await out('domname', domain.uuid)).toBe('test');
  expect(await out('hostname')).not.toBe('');
  expect(await out('nodeinfo')).toMatch(/CPU\(s\): +\d+/);
  expect(await out('capabilities')).toMatch(/<domain type='test'\/>[\s\S]*<disksnapshot/);
  // The first number is the client's own.
  expect(await out('version')).toMatch(/Using API: TEST \d+\.\d+\.\d+\nRunning hypervisor: TEST 0\.0\.2/);
  expect((await virsh(uri, 'domstate', 'none')).stderr).toBe("error: failed to get domain 'none'");
});

test('virsh finds none of what the host does not have, and shows stats of its domains', async () => {
  for (const list of ['net-list', 'pool-list', 'iface-list', 'nodedev-list', 'nwfilter-list', 'secret-list']) {
    expect((await out(list)).split('\n').slice(2).join('')).toBe('');
  }
  expect(await out('domstats', 'test')).toBe(
    "Domain: 'test'\n  state.state=1\n  state.reason=0\n  balloon.current=32768\n  balloon.maximum=65536\n  vcpu.current=2\n  vcpu.maximum=2",
  );
  expect(await out('domstats', '--vcpu', '--list-inactive')).toBe('');
  expect((await virsh(uri, 'domstats', '--perf', '--enforce')).stderr).toBe(
    'error: argument unsupported: Stats types bits 0x40 are not supported by this daemon',
  );
});

test('a function that the host does not have is refused with its name, as by a driver of libvirt', async () => {
  const unsupported = async (...args: readonly string[]) => (await virsh(uri, ...args)).stderr.split('\n').at(-1);
  const text = 'error: this function is not supported by the connection driver: ';
  expect(await unsupported('net-info', 'default')).toBe(`${text}virNetworkLookupByName`);
  expect(await unsupported('setmem', 'test', '1024')).toBe(`${text}virDomainSetMemoryFlags`);
  expect(await unsupported('checkpoint-list', 'test')).toBe(`${text}virDomainListAllCheckpoints`);
  expect(await unsupported('qemu-monitor-command', 'test', '{}')).toBe(`${text}virDomainQemuMonitorCommand`);
  using client = await RawClient.open(listener.path);
  const unknown = { number: 289, args: nothing, result: nothing };
  expect(await client.error(client.send(unknown, undefined))).toMatchObject({
    code: 3,
    domain: 20,
    str1: 'this function is not supported by the connection driver: %s',
    str2: 'virNodeGetMemoryParameters',
  });
});

test('virsh takes a domain through its life', async () => {
  const xml = join(directory, 'two.xml');
  await writeFile(xml, '<domain type="test"><name>two</name></domain>');
  expect(await out('define', xml)).toContain("Domain 'two' defined");
  expect(await out('list', '--inactive', '--name')).toBe('two');
  await out('start', 'two', '--paused');
  expect(await out('domstate', 'two')).toBe('paused');
  await out('resume', 'two');
  await out('suspend', 'two');
  expect(await out('list', '--state-paused', '--name')).toBe('two');
  await out('destroy', 'two');
  expect((await virsh(uri, 'shutdown', 'two')).stderr).toContain('domain is not running');
  await out('snapshot-create-as', 'two', 's1');
  expect((await virsh(uri, 'undefine', 'two')).stderr).toContain('cannot delete inactive domain with 1 snapshots');
  await out('undefine', 'two', '--snapshots-metadata');
  expect(await out('list', '--all', '--name')).toBe('test');
  expect(await out('create', xml)).toContain("Domain 'two' created");
  expect(await out('list', '--transient', '--name')).toBe('two');
  await out('shutdown', 'two');
  expect(await out('list', '--all', '--name')).toBe('test');
});

test('virsh does all it can do with snapshots', async () => {
  await out('snapshot-create-as', 'test', 's1', 'first');
  await out('snapshot-create-as', 'test', 's2');
  expect(await out('snapshot-list', 'test', '--tree')).toBe('s1\n  |\n  +- s2');
  expect(await out('snapshot-list', 'test', '--from', 's1', '--name')).toBe('s2');
  expect(await out('list', '--name', '--with-snapshot')).toBe('test');
  await out('snapshot-revert', 'test', 's1');
  await out('snapshot-delete', 'test', 's1');
  await out('snapshot-delete', 'test', 's2');
  expect(await out('list', '--name', '--with-snapshot')).toBe('');
});

test('virsh hears lifecycle events, and keeps a quiet connection alive', async () => {
  const events = virsh(uri, '-k1', '-K2', 'event', '--event', 'lifecycle', '--loop', '--timeout', '4');
  await delay(1_500);
  await out('suspend', 'test');
  await out('resume', 'test');
  const { stdout, stderr } = await events;
  expect([...stdout.matchAll(/'lifecycle' for domain 'test': (.*)/g)].map(([, event]) => event)).toEqual([
    'Suspended Paused',
    'Resumed Unpaused',
  ]);
  expect(stderr).toBe('');
}, 10_000);

test('a client that pings is answered at once', async () => {
  using client = await RawClient.open(listener.path);
  const ping = { number: KEEPALIVE.PING, args: nothing, result: nothing };
  client.send(ping, undefined, { program: PROGRAM.KEEPALIVE, type: TYPE.MESSAGE, serial: 0 });
  const { header } = await client.next((frame) => frame.header.program === PROGRAM.KEEPALIVE);
  expect(header).toEqual({
    length: 28,
    program: PROGRAM.KEEPALIVE,
    version: 1,
    procedure: KEEPALIVE.PONG,
    type: TYPE.MESSAGE,
    serial: 0,
    status: 0,
  });
});

test('what is not ours is refused as libvirtd refuses it', async () => {
  using client = new RawClient(listener.path);
  const type = P.CONNECT_GET_TYPE;
  const refusal = async (serial: number) => (await client.error(serial)).message;
  expect(await refusal(client.send(type, undefined))).toBe('internal error: hypervisor connection not open');
  expect(await refusal(client.send(P.CONNECT_OPEN, { name: 'qemu:///system', flags: 0 }))).toBe(
    'no connection driver available for qemu:///system',
  );
  await client.call(P.CONNECT_OPEN, { name: '', flags: 0 });
  expect(await refusal(client.send(P.CONNECT_OPEN, { name: null, flags: 0 }))).toMatch(/connection already open$/);
  expect(await client.error(client.send({ ...type, number: 999 }, undefined))).toMatchObject({
    code: 39,
    domain: 7,
    message: 'unknown procedure: 999',
  });
  expect(await refusal(client.send(type, undefined, { status: 1 }))).toBe('Unexpected message status 1');
  expect(await refusal(client.send(type, undefined, { version: 2 }))).toBe('Cannot find program 536903814 version 2');
  expect(await refusal(client.send({ number: P.DOMAIN_GET_STATE.number, args: uint, result: nothing }, 1))).toBe(
    'Unable to decode message payload',
  );
  expect(await refusal(client.send(P.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, { callbackID: 9 }))).toBe(
    'internal error: domain event callback 9 not registered',
  );
  expect(await client.error(client.send(P.DOMAIN_GET_STATE, { domain, flags: 5 }))).toMatchObject({
    code: 8,
    message: 'unsupported flags (0x5) in function virDomainGetState',
    str2: 'flags',
  });
});

test('every procedure that changes something is refused to a read-only connection', async () => {
  using client = await RawClient.open(listener.path, NAME, CONNECT.RO);
  const changing = [
    P.DOMAIN_CREATE,
    P.DOMAIN_DESTROY,
    P.DOMAIN_RESUME,
    P.DOMAIN_SHUTDOWN,
    P.DOMAIN_SUSPEND,
    P.DOMAIN_UNDEFINE,
  ];
  for (const procedure of changing) {
    expect(await client.error(client.send(procedure, { domain }))).toMatchObject({ code: 29, domain: 20 });
  }
  const withFlags: readonly Procedure<{ domain: typeof domain; flags: number }, unknown>[] = [
    P.DOMAIN_CREATE_WITH_FLAGS,
    P.DOMAIN_DESTROY_FLAGS,
    P.DOMAIN_SHUTDOWN_FLAGS,
    P.DOMAIN_UNDEFINE_FLAGS,
  ];
  for (const { number, args } of withFlags) {
    const call = client.send({ number, args, result: nothing }, { domain, flags: 0 });
    expect(await client.error(call)).toMatchObject({ code: 29, domain: 20 });
  }
  for (const procedure of [P.DOMAIN_CREATE_XML, P.DOMAIN_DEFINE_XML_FLAGS]) {
    expect(await client.error(client.send(procedure, { xml: '', flags: 0 }))).toMatchObject({ code: 29, domain: 20 });
  }
  expect((await client.error(client.send(P.DOMAIN_GET_XML_DESC, { domain, flags: 1 }))).message).toBe(
    'operation forbidden: virDomainGetXMLDesc with secure flag',
  );
  expect(await client.call(P.DOMAIN_GET_STATE, { domain, flags: 0 })).toEqual({ state: 1, reason: 0 });
});

test('a client has twenty calls worked on at a time, and is not read from beyond', async () => {
  let finish = (): void => {};
  snapshots.gate = new Promise((resolve) => {
    finish = resolve;
  });
  using client = await RawClient.open(listener.path);
  using other = await RawClient.open(listener.path);
  const creates = Array.from({ length: 25 }, (_, n) =>
    client.send(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: `<name>p${n}</name>`, flags: 0 }),
  );
  const after = client.send(P.CONNECT_GET_TYPE, undefined);
  expect(await other.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
  await delay(50);
  expect(client.frames).toEqual([]);
  finish();
  for (const serial of [...creates, after]) expect((await client.reply(serial)).header.status).toBe(0);
  expect(await other.call(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 })).toEqual({ value: 25 });
});

test('a client that says goodbye, or no frame at all, is closed', async () => {
  using polite = await RawClient.open(listener.path);
  await polite.call(P.CONNECT_CLOSE, undefined);
  await polite.closed();
  using rude = await RawClient.open(listener.path);
  rude.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await rude.closed();
});
