/** Clients that are not virsh, unmodified, against the built daemon: Python, libvirt-dbus, and the helper of xen+ssh. */

import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { int, struct, uint } from '../../src/rpc/wire/codec.ts';
import { PROCEDURES as P, type Procedure } from '../../src/rpc/wire/procedures.ts';
import { LibvirtDbus } from '../support/daemons/libvirt-dbus.ts';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { PrivateBus } from '../support/daemons/private-bus.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';
import { seeing } from '../support/seeing.ts';
import { virsh } from '../support/virsh.ts';

const run = promisify(execFile);
const SUPPORT = resolve(import.meta.dirname, '../support');
const TIMEOUT_MS = 30_000;

let host: Xlsnapd;

beforeAll(async () => {
  host = await Xlsnapd.start();
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
});

test('python3-libvirt: the whole snapshot API, with events', async () => {
  const script = join(SUPPORT, 'snapshot_api.py');
  const { stdout } = await run('/usr/bin/python3', [script, host.uri, 'test'], { timeout: TIMEOUT_MS });
  expect(JSON.parse(stdout)).toEqual({
    names: ['first ü', 'second'],
    roots: ['first ü'],
    all: ['first ü', 'second'],
    num: 2,
    leaves: 1,
    hasCurrent: 1,
    current: 'second',
    lookup: 'first ü',
    xml: true,
    parent: 'first ü',
    children: [1, ['second'], ['second']],
    isCurrent: [0, 1],
    hasMetadata: 1,
    domain: ['test', true],
    job: [0, 0],
    withSnapshots: ['test'],
    revert: 0,
    events: [
      ['test', 5, 6],
      ['test', 2, 3],
      ['test', 4, 2],
      ['test', 0, 3],
    ],
    state: [1, 4],
    currentAfter: 'first ü',
    missing: [72, 41, "no domain snapshot with matching name 'none'"],
    twice: [9, 20, 'domain moment second already exists'],
    malformed: [35, 35],
    noParent: [72, 41, "snapshot 'first ü' does not have a parent"],
    exclusive: 8,
    readOnly: [2, 29],
    left: [],
    isAlive: 1,
  });
});

test('virt-ssh-helper carries a connection as xen+ssh does, without the ssh', async () => {
  // The command that ssh would run on the other host, as libvirt takes any command for its transport.
  const command = join(host.home, 'helper');
  const [program, args] = await seeing(host.socket, join(host.home, 'run'), 'virt-ssh-helper test:///default');
  await writeFile(command, `#!/bin/sh\nexec ${program} ${args.map((word) => `'${word}'`).join(' ')}\n`, {
    mode: 0o755,
  });
  const uri = `test+ext:///default?command=${command}`;
  expect(await virsh(uri, 'snapshot-create-as', 'test', 'far')).toMatchObject({ status: 0, stderr: '' });
  expect((await virsh(uri, 'snapshot-list', 'test', '--name')).stdout).toBe('far');
  expect((await virsh(uri, 'snapshot-revert', 'test', 'far')).stdout).toBe('Domain snapshot far reverted');
  expect(await virsh(uri, 'snapshot-delete', 'test', 'far')).toMatchObject({ status: 0 });
}, 30_000);

test('the calls with which virt-manager fills its list are answered', async () => {
  using client = await RawClient.open(host.socket);
  const { domains } = await client.call(P.CONNECT_LIST_ALL_DOMAINS, { needResults: 1, flags: 0x3 });
  const [domain] = domains;
  if (!domain) throw new Error('there is no domain');
  for (const procedure of [
    P.CONNECT_GET_CAPABILITIES,
    P.CONNECT_GET_LIB_VERSION,
    P.CONNECT_GET_VERSION,
    P.NODE_GET_INFO,
  ] as const) {
    expect(await client.call(procedure as Procedure<void, unknown>, undefined)).toBeDefined();
  }
  expect((await client.call(P.DOMAIN_GET_XML_DESC, { domain, flags: 0 })).value).toContain('<name>test</name>');
  expect(await client.call(P.DOMAIN_GET_INFO, { domain })).toMatchObject({ state: 1 });
  expect(await client.call(P.DOMAIN_GET_STATE, { domain, flags: 0 })).toMatchObject({ state: 1 });
  expect(await client.call(P.DOMAIN_HAS_MANAGED_SAVE_IMAGE, { domain, flags: 0 })).toEqual({ value: 0 });
  expect(await client.call(P.DOMAIN_LIST_ALL_SNAPSHOTS, { domain, needResults: 1, flags: 0 })).toEqual({
    snapshots: [],
    count: 0,
  });
  // Networks, pools, interfaces, node devices: it has none.
  const none = { args: struct({ needResults: int, flags: uint }), result: struct({ objects: int, count: uint }) };
  for (const number of [283, 281, 284, 285]) {
    const reply = await client.call({ number, ...none }, { needResults: 1, flags: 0 });
    expect(reply).toEqual({ objects: 0, count: 0 });
  }
});

test('a client that sends what is no frame is disconnected, and named in the log with the reason', async () => {
  using rude = new RawClient(host.socket);
  rude.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await rude.closed();
  await host.logged(
    `warning: client disconnected: pid ${process.pid}, uid ${process.getuid?.()}, gid ${process.getgid?.()}: packet of`,
  );
});

describe('libvirt-dbus', () => {
  // Its URIs are built in, qemu:///session of root among them. In a mount namespace the daemon stands where that leads, and
  // opens libvirtd's test driver for whoever comes.
  const uuid = '11111111-2222-3333-4444-555555555555';
  const path = `/org/libvirt/QEMU/domain/_${uuid.replaceAll('-', '_')}`;
  const snapshotPath = (encoded: string) => `/org/libvirt/QEMU/domainsnapshot/_${uuid.replaceAll('-', '_')}_${encoded}`;

  let home: string;
  let libvirtd: Libvirtd;
  let daemon: Xlsnapd;
  let bus: PrivateBus;
  let libvirtDbus: LibvirtDbus;

  beforeAll(async () => {
    home = await folderForLibvirtd();
    libvirtd = await startLibvirtd();
    const args = ['--upstream', libvirtd.socket, '--upstream-uri', 'test:///default'];
    daemon = await Xlsnapd.start({ home, args });
    const xml = join(home, 'one.xml');
    await writeFile(
      xml,
      `<domain type='test'><name>one</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os></domain>`,
    );
    await daemon.ok('define', xml);
    await daemon.ok('start', 'one');
    bus = await PrivateBus.start();
    libvirtDbus = await LibvirtDbus.start(bus, daemon.socket);
  }, 60_000);

  afterAll(async () => {
    await libvirtDbus[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
    await libvirtd[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  /** What `gdbus call` prints, or the message of its error. */
  const call = async (object: string, method: string, ...args: readonly string[]): Promise<string> => {
    const target = ['--session', '--dest', 'org.libvirt', '--object-path', object, '--method', method];
    const { stdout, stderr } = await bus.run('gdbus', 'call', ...target, ...args);
    return (stdout || stderr).trim();
  };
  const ofDomain = (method: string, ...args: readonly string[]) => call(path, `org.libvirt.Domain.${method}`, ...args);
  const ofSnapshot = (name: string, method: string, ...args: readonly string[]) =>
    call(snapshotPath(name), `org.libvirt.DomainSnapshot.${method}`, ...args);

  test('creates, lists, reads, reverts to and deletes snapshots', async () => {
    const created = await ofDomain('SnapshotCreateXML', '<domainsnapshot><name>snap-1 ü</name></domainsnapshot>', '0');
    expect(created).toBe(`(objectpath '${snapshotPath('snap_2d1_20_c3_bc')}',)`);
    await ofDomain('SnapshotCreateXML', '<domainsnapshot><name>two</name></domainsnapshot>', '0');
    const [first, second] = [snapshotPath('snap_2d1_20_c3_bc'), snapshotPath('two')];
    expect(await ofDomain('ListDomainSnapshots', '0')).toBe(`([objectpath '${first}', '${second}'],)`);
    expect(await ofDomain('SnapshotCurrent', '0')).toBe(`(objectpath '${second}',)`);
    expect(await ofDomain('SnapshotLookupByName', 'two', '0')).toBe(`(objectpath '${second}',)`);
    expect(await ofDomain('SnapshotLookupByName', 'none', '0')).toContain('no domain snapshot with matching name');
    expect(await ofSnapshot('two', 'GetXMLDesc', '0')).toContain('<name>two</name>');
    expect(await ofSnapshot('two', 'IsCurrent', '0')).toBe('(true,)');
    expect(await ofSnapshot('two', 'GetParent', '0')).toBe(`(objectpath '${first}',)`);
    expect(await ofSnapshot('snap_2d1_20_c3_bc', 'ListChildren', '0')).toBe(`([objectpath '${second}'],)`);
    expect(await ofSnapshot('two', 'Delete', '0')).toBe('()');
    expect(await ofDomain('ListDomainSnapshots', '0')).toBe(`([objectpath '${first}'],)`);
  }, 30_000);

  test('signals what a revert does to the domain', async () => {
    using monitor = await bus.monitor('org.libvirt');
    expect(await ofSnapshot('snap_2d1_20_c3_bc', 'Revert', '0')).toBe('()');
    await monitor.heard(`DomainEvent (objectpath '${path}', 2, 3)`);
    const events = monitor.signals.filter((line) => line.includes('.DomainEvent '));
    expect(events.slice(0, 2).map((line) => /\d, \d/.exec(line)?.[0])).toEqual(['5, 6', '2, 3']);
  }, 30_000);
});
