/** The built daemon on a bus of its own, asked by gdbus, busctl and dbus-send, and heard by gdbus monitor. */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runProgram, XLSNAP } from '../support/command-line.ts';
import { PrivateBus } from '../support/daemons/private-bus.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

const CONNECT = '/org/libvirt/Test';
const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const DOMAIN = `${CONNECT}/domain/_${UUID.replaceAll('-', '_')}`;
const snapshot = (encoded: string): string => `${CONNECT}/domainsnapshot/_${UUID.replaceAll('-', '_')}_${encoded}`;

let bus: PrivateBus;
let daemon: Xlsnapd;

beforeAll(async () => {
  bus = await PrivateBus.start();
  daemon = await Xlsnapd.start({ args: ['--dbus', bus.address] });
  await bus.waitFor('org.libvirt');
}, 60_000);

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
});

/** As cockpit-machines calls, on the connection that libvirt-dbus would have. */
async function gdbus(path: string, method: string, ...args: readonly string[]): Promise<string> {
  const target = ['--session', '--dest', 'org.libvirt', '--object-path', path, '--method', method];
  const { stdout, stderr } = await bus.run('gdbus', 'call', ...target, ...args);
  return (stdout || stderr).trim();
}

const ofDomain = (method: string, ...args: readonly string[]): Promise<string> =>
  gdbus(DOMAIN, `org.libvirt.Domain.${method}`, ...args);
const ofSnapshot = (encoded: string, method: string, ...args: readonly string[]): Promise<string> =>
  gdbus(snapshot(encoded), `org.libvirt.DomainSnapshot.${method}`, ...args);

test("cockpit-machines' sequence: list, create, list again, read each, revert, revert by force, delete", async () => {
  expect(await ofDomain('ListDomainSnapshots', '0')).toBe('(@ao [],)');
  const xml = '<domainsnapshot><name>cockpit 1</name><description>über</description></domainsnapshot>';
  expect(await ofDomain('SnapshotCreateXML', xml, '0')).toBe(`(objectpath '${snapshot('cockpit_201')}',)`);
  expect(await ofDomain('ListDomainSnapshots', '0')).toBe(`([objectpath '${snapshot('cockpit_201')}'],)`);
  const read = await ofSnapshot('cockpit_201', 'GetXMLDesc', '0');
  for (const part of ['<name>cockpit 1</name>', '<description>über</description>', '<state>running</state>']) {
    expect(read).toContain(part);
  }
  expect(await ofSnapshot('cockpit_201', 'IsCurrent', '0')).toBe('(true,)');
  const found = `(objectpath '${snapshot('cockpit_201')}',)`;
  expect(await ofDomain('SnapshotLookupByName', 'cockpit 1', '0')).toBe(found);
  expect(await ofSnapshot('cockpit_201', 'Revert', '0')).toBe('()');
  expect(await ofSnapshot('cockpit_201', 'Revert', '4')).toBe('()');
  expect(await ofDomain('SnapshotLookupByName', 'cockpit 1', '0')).toBe(found);
  await runProgram(XLSNAP, ['-c', daemon.uri, 'protect', 'test', 'cockpit 1']);
  expect(await ofSnapshot('cockpit_201', 'Delete', '0')).toContain(
    "snapshot 'cockpit 1' of domain 'test' is protected",
  );
  await runProgram(XLSNAP, ['-c', daemon.uri, 'unprotect', 'test', 'cockpit 1']);
  expect(await ofSnapshot('cockpit_201', 'Delete', '0')).toBe('()');
  expect(await ofDomain('ListDomainSnapshots', '0')).toBe('(@ao [],)');
}, 60_000);

test('the example of docs/dbus.md prints what it shows', async () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/dbus.md'), 'utf8');
  const [, example = ''] = /```console\n(.*?)```/s.exec(page) ?? [];
  let printed = '';
  for (const [, command = ''] of example.matchAll(/^\$ (.*)$/gm)) {
    const { stdout, stderr } = await bus.run('sh', '-c', command);
    printed += `$ ${command}\n${stdout}${stderr}`;
  }
  expect(printed).toBe(example);
  expect(example.length).toBeGreaterThan(200);
}, 30_000);

test('busctl finds every object by introspection, and what each can do', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'tree-1');
  const busctl = async (...args: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await bus.run('busctl', `--address=${bus.address}`, '--no-pager', ...args);
    return stdout.split('\n').map((line) => line.trim());
  };
  const tree = await busctl('tree', '--list', 'org.xlsnap');
  expect(tree.filter((line) => line !== '')).toEqual([
    '/',
    '/org',
    '/org/libvirt',
    CONNECT,
    `${CONNECT}/domain`,
    DOMAIN,
    `${CONNECT}/domainsnapshot`,
    snapshot('tree_2d1'),
  ]);
  const domain = await busctl('introspect', 'org.xlsnap', DOMAIN);
  expect(domain).toContainEqual(expect.stringMatching(/^\.SnapshotCreateXML +method +su +o /));
  expect(domain).toContainEqual(expect.stringMatching(/^\.Name +property +s /));
  expect(await busctl('get-property', 'org.xlsnap', DOMAIN, 'org.libvirt.Domain', 'Name')).toEqual(['s "test"', '']);
  expect(domain).toContainEqual(expect.stringMatching(/^\.JobProgress +signal +ssstt /));
  const one = await busctl('introspect', 'org.xlsnap', snapshot('tree_2d1'));
  expect(one).toContainEqual(expect.stringMatching(/^\.ListChildren +method +u +ao /));
  await daemon.ok('snapshot-delete', 'test', 'tree-1');
}, 30_000);

test("signals: snapshots that come, go and are reverted to, whoever asked, and libvirt-dbus' own", async () => {
  using monitor = await bus.monitor('org.xlsnap');
  await daemon.ok('snapshot-create-as', 'test', 'parent');
  await daemon.ok('snapshot-create-as', 'test', 'child');
  await daemon.ok('snapshot-revert', 'test', 'child');
  await daemon.ok('snapshot-delete', 'test', 'parent', '--children');
  await monitor.heard("'parent', 'completed'");
  await monitor.heard("JobProgress ('delete', 'parent', 'completed'");
  const told = monitor.signals.filter((line) => !line.includes('.JobProgress '));
  const change = (kind: string, name: string): string =>
    `${DOMAIN}: org.xlsnap.Domain.Snapshot${kind} (objectpath '${snapshot(name)}', '${name}')`;
  const event = (numbers: string): string =>
    `${CONNECT}: org.libvirt.Connect.DomainEvent (objectpath '${DOMAIN}', ${numbers})`;
  expect(told).toEqual([
    event('3, 0'),
    event('4, 0'),
    change('Created', 'parent'),
    event('3, 0'),
    event('4, 0'),
    change('Created', 'child'),
    event('5, 6'),
    event('2, 3'),
    event('4, 2'),
    event('0, 3'),
    change('Reverted', 'child'),
    // Children first.
    change('Deleted', 'child'),
    change('Deleted', 'parent'),
  ]);
  const progress = monitor.signals.filter((line) => line.includes("JobProgress ('create', 'parent'"));
  expect(progress.at(-1)).toMatch(/'completed', uint64 [1-9]\d*, uint64 [1-9]\d*\)$/);
}, 60_000);

test('metadata that goes with its domain is told of, too, and a redefinition makes nothing new', async () => {
  const uuid = '11111111-2222-3333-4444-555555555555';
  const definition = `<domain type='xen'><name>gone</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os></domain>`;
  const file = async (text: string): Promise<string> => {
    const path = join(daemon.home, 'document.xml');
    await writeFile(path, text);
    return path;
  };
  await daemon.ok('define', await file(definition));
  using monitor = await bus.monitor('org.xlsnap');
  const kept = `<domainsnapshot><name>kept</name><state>shutoff</state><creationTime>1</creationTime>${definition}</domainsnapshot>`;
  await daemon.ok('snapshot-create', 'gone', await file(kept), '--redefine');
  await daemon.ok('snapshot-create', 'gone', await file(kept), '--redefine', '--current');
  await daemon.ok('undefine', 'gone', '--snapshots-metadata');
  await monitor.heard('SnapshotDeleted (');
  const told = monitor.signals.filter((line) => line.includes('org.xlsnap.Domain.Snapshot'));
  const path = `${CONNECT}/domainsnapshot/_${uuid.replaceAll('-', '_')}_kept`;
  expect(told.map((line) => line.slice(line.indexOf('.Snapshot') + 1))).toEqual([
    `SnapshotCreated (objectpath '${path}', 'kept')`,
    `SnapshotDeleted (objectpath '${path}', 'kept')`,
  ]);
}, 30_000);

test('a job that fails says so', async () => {
  using monitor = await bus.monitor('org.xlsnap');
  await daemon.ok('snapshot-create-as', 'test', 'once');
  await daemon.refused('snapshot-create-as', 'test', 'once');
  await monitor.heard("JobProgress ('create', 'once', 'failed'");
  await daemon.ok('snapshot-delete', 'test', 'once');
  await monitor.heard("SnapshotDeleted (objectpath '");
  expect(monitor.signals.filter((line) => line.includes('SnapshotCreated'))).toHaveLength(1);
}, 30_000);

/** What a stack would have in it. */
const STACK = /\n +at |\.js:|dbus.next/;

test.each([
  ['a number for a string', DOMAIN, 'org.libvirt.Domain.SnapshotLookupByName', ['uint32:1', 'uint32:0'], 'InvalidArgs'],
  ['too few arguments', DOMAIN, 'org.libvirt.Domain.ListDomainSnapshots', [], 'InvalidArgs'],
  ['an array for a number', DOMAIN, 'org.libvirt.Domain.ListDomainSnapshots', ['array:uint32:0'], 'InvalidArgs'],
  ['an unknown method', DOMAIN, 'org.libvirt.Domain.toString', [], 'UnknownMethod'],
  ['an unknown interface', DOMAIN, 'org.example.Interface.Method', [], 'UnknownMethod'],
  ['another driver', '/org/libvirt/QEMU', 'org.libvirt.Connect.ListDomains', ['uint32:0'], 'UnknownMethod'],
  ['a wild path', `${CONNECT}/domain/__proto__`, 'org.libvirt.Domain.SnapshotCurrent', ['uint32:0'], 'UnknownMethod'],
  ['a path up', `${DOMAIN}/_2e_2e`, 'org.libvirt.Domain.SnapshotCurrent', ['uint32:0'], 'UnknownMethod'],
])('%s is an error of D-Bus, in one line', async (_what, path, method, args, error) => {
  const said = await bus.call('org.xlsnap', path, method, args);
  expect(said).toMatch(new RegExp(`^Error org\\.freedesktop\\.DBus\\.Error\\.${error}: [^\\n]+$`));
  expect(said).not.toMatch(STACK);
});

test.each([
  [
    'bad XML',
    DOMAIN,
    'org.libvirt.Domain.SnapshotCreateXML',
    ['string:<domainsnapshot>', 'uint32:0'],
    /Premature end of data in tag domainsnapshot/,
  ],
  ['unknown flags', DOMAIN, 'org.libvirt.Domain.ListDomainSnapshots', ['uint32:4294967295'], /unsupported flags/],
  [
    'no snapshot',
    snapshot('none'),
    'org.libvirt.DomainSnapshot.Delete',
    ['uint32:0'],
    /no domain snapshot with matching/,
  ],
  [
    'no domain',
    DOMAIN.replace('6695', '7706'),
    'org.libvirt.Domain.SnapshotCurrent',
    ['uint32:0'],
    /no domain with matching/,
  ],
])("%s is libvirt's error, in its words", async (_what, path, method, args, text) => {
  const said = await bus.call('org.xlsnap', path, method, args);
  expect(said).toMatch(/^Error org\.libvirt\.Error: /);
  expect(said).toMatch(text);
  expect(said).not.toMatch(STACK);
});

test('many calls at a time are each answered', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => bus.call('org.xlsnap', CONNECT, 'org.libvirt.Connect.ListDomains', ['uint32:0'])),
  );
  expect(new Set(answers)).toEqual(new Set([`array [\n      ${DOMAIN}   ]`]));
}, 30_000);

describe('the connection', () => {
  test('a bus that goes away and comes back finds the daemon again; its sockets never noticed', async () => {
    await using other = await PrivateBus.start();
    await using served = await Xlsnapd.start({ args: ['--dbus', other.address] });
    await other.waitFor('org.xlsnap');
    await other.end();
    expect(await served.ok('list', '--name')).toBe('test');
    await other.begin();
    await other.waitFor('org.xlsnap');
    expect(await other.call('org.xlsnap', CONNECT, 'org.libvirt.Connect.ListDomains', ['uint32:0'])).toContain(DOMAIN);
    const log = served.log.split('\n').filter((line) => line.includes('bus'));
    expect(log.filter((line) => line.includes('was lost'))).toHaveLength(1);
  }, 60_000);

  test('a bus that is not there is said once, and keeps nobody from serving', async () => {
    const home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
    try {
      await using served = await Xlsnapd.start({ home, args: ['--dbus', `unix:path=${join(home, 'nobody')}`] });
      expect(await served.ok('list', '--name')).toBe('test');
      await served.logged(`warning: D-Bus: cannot connect to the message bus at '${join(home, 'nobody')}'`);
    } finally {
      await rm(home, { recursive: true });
    }
  }, 30_000);

  test('the names are free when the daemon has ended', async () => {
    await using other = await PrivateBus.start();
    await using served = await Xlsnapd.start({ args: ['--dbus', other.address] });
    await other.waitFor('org.xlsnap');
    await served[Symbol.asyncDispose]();
    await other.waitForNobody('org.xlsnap');
    await other.waitForNobody('org.libvirt');
  }, 30_000);

  test("where libvirt-dbus would be started for it, libvirt-dbus' name stays libvirt-dbus'", async () => {
    const services = await mkdtemp(join(tmpdir(), 'xlsnap-services-'));
    try {
      const service = '[D-BUS Service]\nName=org.libvirt\nExec=/bin/false\n';
      await writeFile(join(services, 'org.libvirt.service'), service);
      const everything = '<allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/>';
      const configuration = `<policy context="default">${everything}</policy><servicedir>${services}</servicedir>`;
      await using other = await PrivateBus.start({ configuration });
      await using served = await Xlsnapd.start({ args: ['--dbus', other.address] });
      await served.logged('as org.xlsnap\n');
    } finally {
      await rm(services, { recursive: true });
    }
  }, 30_000);

  test('a second daemon waits until the first has gone', async () => {
    await using other = await PrivateBus.start();
    await using first = await Xlsnapd.start({ args: ['--dbus', other.address] });
    await other.waitFor('org.xlsnap');
    await using second = await Xlsnapd.start({ args: ['--dbus', other.address] });
    await second.logged('another program owns the bus name org.xlsnap');
    await first[Symbol.asyncDispose]();
    await other.waitFor('org.xlsnap');
  }, 60_000);
});
