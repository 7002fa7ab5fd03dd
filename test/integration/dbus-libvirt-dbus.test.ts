/**
 * The real libvirt-dbus connected to our socket, and our own D-Bus front, side by side on one bus: the same calls, in the
 * same order, each on a domain of its own, have the same answers.
 */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { LibvirtDbus } from '../support/daemons/libvirt-dbus.ts';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { PrivateBus } from '../support/daemons/private-bus.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { introspected, introspectedNodes } from '../support/introspected.ts';

/** One of the two: who is called, and the domain that is its own. */
interface Side {
  readonly destination: string;
  readonly connect: string;
  readonly domain: string;
  readonly uuid: string;
}

const OURS: Side = {
  destination: 'org.xlsnap',
  connect: '/org/libvirt/Test',
  domain: 'ours',
  uuid: '11111111-2222-3333-4444-555555555555',
};
const THEIRS: Side = {
  destination: 'org.libvirt',
  connect: '/org/libvirt/QEMU',
  domain: 'theirs',
  uuid: '66666666-7777-8888-9999-aaaaaaaaaaaa',
};

let home: string;
let libvirtd: Libvirtd;
let daemon: Xlsnapd;
let bus: PrivateBus;
let libvirtDbus: LibvirtDbus;

beforeAll(async () => {
  home = await folderForLibvirtd();
  bus = await PrivateBus.start();
  libvirtDbus = await LibvirtDbus.start(bus, join(home, 'sock'));
  libvirtd = await startLibvirtd();
  const upstream = ['--upstream', libvirtd.socket, '--upstream-uri', 'test:///default'];
  daemon = await Xlsnapd.start({ home, args: [...upstream, '--dbus', bus.address] });
  await bus.waitFor('org.xlsnap');
  for (const { domain, uuid } of [OURS, THEIRS]) {
    const xml = `<domain type='test'><name>${domain}</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os></domain>`;
    await writeFile(join(home, 'domain.xml'), xml);
    await daemon.ok('define', join(home, 'domain.xml'));
    await daemon.ok('start', domain);
  }
}, 60_000);

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await libvirtDbus[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

type Place = 'connect' | 'domain' | { readonly snapshot: string };

interface Step {
  readonly on: Place;
  /** With the interface that the place has, or another. */
  readonly method: string;
  readonly args?: readonly string[];
  /** What libvirt-dbus makes of our answer; without it, the same. */
  readonly theirs?: (ours: string) => string;
}

const XML = (name: string): string => `string:<domainsnapshot><name>${name}</name></domainsnapshot>`;
const NONE = ['uint32:0'];

/** Of a snapshot that does not exist libvirt-dbus loses the error's text on its way. */
const lost = (): string => 'Error org.libvirt.Error: unknown error';

/** It is connected to the upstream's test driver, which has no more words for it. */
const fewWords = (): string => 'Error org.libvirt.Error: Domain not found';

/** What libvirt calls secure (a UNIX socket, its own test driver in the same process) it reports as if it were not. */
const insecure = (ours: string): string => ours.replace(/(Secure[^)]*boolean) true/, '$1 false');

const STEPS: readonly Step[] = [
  { on: 'connect', method: 'DomainLookupByName', args: ['string:DOMAIN'] },
  { on: 'connect', method: 'DomainLookupByUUID', args: ['string:UUID'] },
  { on: 'domain', method: 'ListDomainSnapshots', args: NONE },
  { on: 'domain', method: 'SnapshotCurrent', args: NONE },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('first ü'), 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('second'), 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('second'), 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('a/b'), 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: ['string:<domainsnapshot>', 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: ['string:', 'uint32:0'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('third'), 'uint32:4096'] },
  { on: 'domain', method: 'SnapshotCreateXML', args: [XML('third'), 'uint32:16'] },
  { on: 'domain', method: 'ListDomainSnapshots', args: NONE },
  { on: 'domain', method: 'ListDomainSnapshots', args: ['uint32:1'] },
  { on: 'domain', method: 'ListDomainSnapshots', args: ['uint32:1048576'] },
  { on: 'domain', method: 'SnapshotCurrent', args: NONE },
  { on: 'domain', method: 'SnapshotLookupByName', args: ['string:first ü', 'uint32:0'] },
  { on: 'domain', method: 'SnapshotLookupByName', args: ['string:none', 'uint32:0'] },
  { on: 'domain', method: 'SnapshotLookupByName', args: ['string:', 'uint32:0'] },
  { on: { snapshot: 'second' }, method: 'GetXMLDesc', args: NONE },
  { on: { snapshot: 'second' }, method: 'GetXMLDesc', args: ['uint32:2'] },
  { on: { snapshot: 'second' }, method: 'GetParent', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'GetParent', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'ListChildren', args: NONE },
  { on: { snapshot: 'second' }, method: 'ListChildren', args: NONE },
  { on: { snapshot: 'second' }, method: 'IsCurrent', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'IsCurrent', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'Revert', args: ['uint32:3'] },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'Revert', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'IsCurrent', args: NONE },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'Revert', args: ['uint32:2'] },
  { on: { snapshot: 'second' }, method: 'Delete', args: ['uint32:5'] },
  { on: { snapshot: 'second' }, method: 'Delete', args: NONE },
  { on: { snapshot: 'second' }, method: 'Delete', args: NONE, theirs: lost },
  { on: { snapshot: 'second' }, method: 'GetXMLDesc', args: NONE, theirs: lost },
  { on: { snapshot: 'first_20_c3_bc' }, method: 'Delete', args: ['uint32:1'] },
  { on: 'domain', method: 'ListDomainSnapshots', args: NONE },
  { on: 'domain', method: 'ListDomainSnapshots', args: ['string:0'] },
  { on: 'domain', method: 'SnapshotLookupByName', args: ['string:x'] },
  { on: 'domain', method: 'Nope' },
  { on: 'domain', method: 'org.example.Nope.Nope', args: NONE },
  { on: 'domain', method: 'org.freedesktop.DBus.Peer.Ping' },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.Get', args: ['string:org.libvirt.Domain', 'string:Name'] },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.Get', args: ['string:org.libvirt.Domain', 'string:Active'] },
  {
    on: 'domain',
    method: 'org.freedesktop.DBus.Properties.Get',
    args: ['string:org.libvirt.Domain', 'string:Persistent'],
  },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.Get', args: ['string:org.libvirt.Domain', 'string:UUID'] },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.Get', args: ['string:org.libvirt.Domain', 'string:Nope'] },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.Get', args: ['string:org.libvirt.Nope', 'string:Name'] },
  { on: 'domain', method: 'org.freedesktop.DBus.Properties.GetAll', args: ['string:org.libvirt.Nope'] },
  {
    on: 'connect',
    method: 'org.freedesktop.DBus.Properties.GetAll',
    args: ['string:org.libvirt.Connect'],
    theirs: insecure,
  },
  { on: 'connect', method: 'DomainLookupByName', args: ['string:nobody'], theirs: fewWords },
  { on: 'connect', method: 'DomainLookupByID', args: ['int32:77'], theirs: fewWords },
];

const pathOf = ({ connect, uuid }: Side, place: Place): string => {
  const encoded = `_${uuid.replaceAll('-', '_')}`;
  if (place === 'connect') return connect;
  return place === 'domain' ? `${connect}/domain/${encoded}` : `${connect}/domainsnapshot/${encoded}_${place.snapshot}`;
};

const interfaceOf = (place: Place): string => {
  if (place === 'connect') return 'org.libvirt.Connect';
  return place === 'domain' ? 'org.libvirt.Domain' : 'org.libvirt.DomainSnapshot';
};

/** One side's answer, with what is its own taken out. */
async function ask(side: Side, { on, method, args = [] }: Step): Promise<string> {
  const own = args.map((arg) => arg.replace('DOMAIN', side.domain).replace('UUID', side.uuid));
  const full = method.includes('.') ? method : `${interfaceOf(on)}.${method}`;
  const said = await bus.call(side.destination, pathOf(side, on), full, own);
  return neutral(side, said);
}

function neutral({ connect, uuid, domain }: Side, said: string): string {
  return said
    .replaceAll(connect, 'CONNECT')
    .replaceAll(uuid.replaceAll('-', '_'), 'UUID')
    .replaceAll(uuid, 'UUID')
    .replaceAll(new RegExp(`\\b${domain}\\b`, 'g'), 'DOMAIN')
    .replaceAll(/<creationTime>\d+/g, '<creationTime>0')
    .replaceAll(/ id='\d+'/g, " id='0'");
}

test('every answer is the same', async () => {
  const ours: string[] = [];
  const theirs: string[] = [];
  const expected: string[] = [];
  for (const [index, step] of STEPS.entries()) {
    const what = `${index} ${step.method} ${step.args ?? ''}: `;
    const answer = await ask(OURS, step);
    ours.push(what + answer);
    theirs.push(what + (await ask(THEIRS, step)));
    expected.push(what + (step.theirs?.(answer) ?? answer));
  }
  expect(theirs).toEqual(expected);
  // The whole of it is no answer to a daemon that is not there.
  expect(ours.filter((line) => line.includes('Error'))).not.toHaveLength(ours.length);
  expect(ours.filter((line) => /ServiceUnknown|NoReply|Disconnected/.test(line))).toEqual([]);
}, 120_000);

test('introspection: the snapshot interface whole, the others in what we have; the same nodes', async () => {
  await daemon.ok('snapshot-create-as', OURS.domain, 'seen');
  await daemon.ok('snapshot-create-as', THEIRS.domain, 'seen');
  const introspect = (side: Side, path: string): Promise<string> =>
    bus.call(side.destination, path, 'org.freedesktop.DBus.Introspectable.Introspect');
  const documents = async (place: Place): Promise<readonly [ours: string, theirs: string]> => [
    await introspect(OURS, pathOf(OURS, place)),
    await introspect(THEIRS, pathOf(THEIRS, place)),
  ];
  const [ourSnapshot, theirSnapshot] = await documents({ snapshot: 'seen' });
  expect(introspected(ourSnapshot, 'org.libvirt.DomainSnapshot')).toEqual(
    introspected(theirSnapshot, 'org.libvirt.DomainSnapshot'),
  );
  for (const [place, name] of [
    ['connect', 'org.libvirt.Connect'],
    ['domain', 'org.libvirt.Domain'],
  ] as const) {
    const [ours, theirs] = await documents(place);
    expect(introspected(theirs, name)).toMatchObject(introspected(ours, name) ?? { missing: name });
  }
  for (const folder of ['domain', 'domainsnapshot']) {
    const nodes = async ({ destination, connect }: Side): Promise<readonly string[]> => {
      const document = await bus.call(
        destination,
        `${connect}/${folder}`,
        'org.freedesktop.DBus.Introspectable.Introspect',
      );
      // libvirt-dbus gives whole paths, which the specification does not have there.
      return introspectedNodes(document)
        .map((node) => node.slice(node.lastIndexOf('/') + 1))
        .sort();
    };
    expect(await nodes(OURS)).toEqual(await nodes(THEIRS));
    expect((await nodes(OURS)).length).toBeGreaterThan(1);
  }
}, 60_000);

test("the same events: the upstream's own, and a create's and a revert's in place of the upstream's", async () => {
  using ours = await bus.monitor(OURS.destination);
  using theirs = await bus.monitor(THEIRS.destination);
  await daemon.ok('resume', OURS.domain);
  await daemon.ok('snapshot-create-as', OURS.domain, 'back');
  await daemon.ok('snapshot-revert', OURS.domain, 'back');
  await ours.heard("SnapshotReverted (objectpath '");
  const events = (signals: readonly string[], side: Side): readonly string[] =>
    signals
      .filter((line) => line.includes('.DomainEvent '))
      .map((line) => neutral({ ...OURS, connect: side.connect }, line));
  const told = events(ours.signals, OURS);
  expect(told.map((line) => /\d, \d/.exec(line)?.[0])).toEqual([
    '4, 0',
    '3, 0',
    '4, 0',
    '5, 6',
    '2, 3',
    '4, 2',
    '0, 3',
  ]);
  await theirs.heard(', 0, 3)');
  expect(events(theirs.signals, THEIRS)).toEqual(told);
}, 60_000);

test("the names: libvirt-dbus keeps its own, and the daemon's is org.xlsnap", async () => {
  const owner = (name: string): Promise<string> =>
    bus.call('org.freedesktop.DBus', '/', 'org.freedesktop.DBus.GetNameOwner', [`string:${name}`]);
  expect(await owner('org.xlsnap')).toMatch(/^:1\.\d+$/);
  expect(await owner('org.libvirt')).toMatch(/^:1\.\d+$/);
  expect(await owner('org.libvirt')).not.toBe(await owner('org.xlsnap'));
  expect(daemon.log).toMatch(/serving on the message bus \(unix:path=[^)]*\) as org\.xlsnap$/m);
});
