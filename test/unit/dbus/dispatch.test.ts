import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Call, Reply } from '../../../src/dbus/bus.ts';
import { dispatch } from '../../../src/dbus/dispatch.ts';
import type { Served } from '../../../src/dbus/objects.ts';
import { domainPath, placesOf, snapshotPath } from '../../../src/dbus/paths.ts';
import { MemoryDomains } from '../../support/fakes/domains-in-memory.ts';
import { MemorySnapshots } from '../../support/fakes/snapshots-in-memory.ts';

const places = placesOf('Test');
const NOBODY = '11111111-2222-3333-4444-555555555555';
const events = { emit: () => {}, expect: () => ({ [Symbol.dispose]: () => {} }) };

let served: Served;
let domain: string;
let uuid: string;

beforeEach(async () => {
  const domains = new MemoryDomains(events);
  const ref = await domains.createXML('<domain><name>vm</name></domain>');
  ({ uuid } = ref);
  domain = domainPath(places, uuid);
  served = {
    places,
    snapshots: new MemorySnapshots(events),
    domains: {
      lookup: async (wanted) => domains.domain(wanted),
      state: async (wanted) => domains.domain(wanted),
      all: async () => (await domains.domains()).map((each) => each.ref),
      list: async () => (await domains.domains()).map((each) => each.ref),
      version: async () => 1_000n,
      libVersion: () => Promise.reject(new Error('gone')),
    },
  };
});

/** `interface.member`, or a member alone. */
function call(path: string, method: string, signature = '', ...args: readonly unknown[]): Promise<Reply> {
  const dot = method.lastIndexOf('.');
  const named: Pick<Call, 'interface' | 'member'> = {
    interface: dot < 0 ? undefined : method.slice(0, dot),
    member: method.slice(dot + 1),
  };
  return dispatch(served, { sender: ':1.1', path, ...named, signature, args });
}

const create = (name: string): Promise<Reply> =>
  call(
    domain,
    'org.libvirt.Domain.SnapshotCreateXML',
    'su',
    `<domainsnapshot><name>${name}</name></domainsnapshot>`,
    0,
  );
const ofSnapshot = (name: string, member: string): Promise<Reply> =>
  call(snapshotPath(places, uuid, name), `org.libvirt.DomainSnapshot.${member}`, 'u', 0);

const INVALID = 'org.freedesktop.DBus.Error.InvalidArgs';
const UNKNOWN = 'org.freedesktop.DBus.Error.UnknownMethod';

test("a snapshot's life", async () => {
  const [one, two] = [snapshotPath(places, uuid, 'one'), snapshotPath(places, uuid, 'two')];
  expect(await create('one')).toEqual({ signature: 'o', values: [one] });
  expect(await create('two')).toEqual({ signature: 'o', values: [two] });
  const ofDomain = (member: string, signature = 'u', ...args: readonly unknown[]) =>
    call(domain, `org.libvirt.Domain.${member}`, signature, ...args, 0);
  expect(await ofDomain('ListDomainSnapshots')).toEqual({ signature: 'ao', values: [[one, two]] });
  expect(await ofDomain('SnapshotCurrent')).toEqual({ signature: 'o', values: [two] });
  expect(await ofDomain('SnapshotLookupByName', 'su', 'one')).toEqual({ signature: 'o', values: [one] });
  expect(await ofSnapshot('two', 'GetParent')).toEqual({ signature: 'o', values: [one] });
  expect(await ofSnapshot('one', 'ListChildren')).toEqual({ signature: 'ao', values: [[two]] });
  expect(await ofSnapshot('one', 'IsCurrent')).toEqual({ signature: 'b', values: [false] });
  expect(await ofSnapshot('one', 'GetXMLDesc')).toMatchObject({
    values: [expect.stringContaining('<name>one</name>')],
  });
  expect(await ofSnapshot('one', 'Revert')).toEqual({ signature: '', values: [] });
  expect(await ofSnapshot('one', 'IsCurrent')).toEqual({ signature: 'b', values: [true] });
  expect(await ofSnapshot('two', 'Delete')).toEqual({ signature: '', values: [] });
  expect(await ofDomain('ListDomainSnapshots')).toEqual({ signature: 'ao', values: [[one]] });
});

describe('domains', () => {
  const connect = (member: string, signature: string, value: unknown) =>
    call(places.connect, `org.libvirt.Connect.${member}`, signature, value);

  test('are listed, and found by name, UUID and id', async () => {
    expect(await connect('ListDomains', 'u', 0)).toEqual({ signature: 'ao', values: [[domain]] });
    expect(await connect('DomainLookupByName', 's', 'vm')).toEqual({ signature: 'o', values: [domain] });
    expect(await connect('DomainLookupByUUID', 's', uuid)).toEqual({ signature: 'o', values: [domain] });
    expect(await connect('DomainLookupByID', 'i', 1)).toEqual({ signature: 'o', values: [domain] });
  });

  test.each([
    ['DomainLookupByName', 's', 'none', "name 'none'"],
    ['DomainLookupByUUID', 's', NOBODY, `uuid '${NOBODY}'`],
    ['DomainLookupByID', 'i', 7, 'id 7'],
    // What every inactive domain has for an id.
    ['DomainLookupByID', 'i', -1, 'id -1'],
  ])('%s(%s %j) finds none', async (member, signature, value, described) => {
    const text = `Domain not found: no domain with matching ${described}`;
    expect(await connect(member, signature, value)).toEqual({ error: 'org.libvirt.Error', text });
  });
});

describe('properties', () => {
  const properties = (member: string, signature: string, ...args: readonly unknown[]) =>
    call(domain, `org.freedesktop.DBus.Properties.${member}`, signature, ...args);

  test('of a domain', async () => {
    expect(await properties('GetAll', 's', 'org.libvirt.Domain')).toMatchObject({
      signature: 'a{sv}',
      values: [
        {
          Active: { signature: 'v', value: { signature: 'b', value: true } },
          Id: { signature: 'v', value: { signature: 'u', value: 1 } },
          Name: { signature: 'v', value: { signature: 's', value: 'vm' } },
          Persistent: { signature: 'v', value: { signature: 'b', value: false } },
          UUID: { signature: 'v', value: { signature: 's', value: uuid } },
        },
      ],
    });
    expect(await properties('Get', 'ss', 'org.libvirt.Domain', 'Name')).toMatchObject({
      signature: 'v',
      values: [{ signature: 's', value: 'vm' }],
    });
  });

  test('that cannot be read are left out of GetAll', async () => {
    const reply = await call(places.connect, 'org.freedesktop.DBus.Properties.GetAll', 's', 'org.libvirt.Connect');
    const [values = {}] = 'values' in reply ? reply.values : [];
    expect(Object.keys(values as object)).toEqual(['Encrypted', 'Hostname', 'Secure', 'Version']);
  });

  test.each([
    ['Get', 'ss', ['org.libvirt.Domain', 'Nope'], 'No such property “Nope”'],
    ['Get', 'ss', ['org.libvirt.Domain', 'constructor'], 'No such property “constructor”'],
    ['Get', 'ss', ['org.libvirt.Nope', 'Name'], 'No such interface “org.libvirt.Nope”'],
    ['GetAll', 's', ['__proto__'], 'No such interface “__proto__”'],
    ['Set', 'ssv', ['org.libvirt.Domain', 'Name', {}], 'Property “Name” is not writable'],
    ['Get', 's', ['org.libvirt.Domain'], 'Type of message, “(s)”, does not match expected type “(ss)”'],
  ])('%s(%s) of %j is refused', async (member, signature, args, text) => {
    expect(await properties(member, signature, ...args)).toEqual({ error: INVALID, text });
  });
});

describe('calls that fit nothing', () => {
  test.each([
    [
      'a string for a number',
      () => call(domain, 'org.libvirt.Domain.ListDomainSnapshots', 's', '0'),
      { error: INVALID, text: 'Type of message, “(s)”, does not match expected type “(u)”' },
    ],
    [
      'a method that is none',
      () => call(domain, 'org.libvirt.Domain.Nope'),
      { error: UNKNOWN, text: 'No such method “Nope”' },
    ],
    [
      'a name that every JavaScript object has',
      () => call(domain, 'org.libvirt.Domain.constructor'),
      { error: UNKNOWN, text: 'No such method “constructor”' },
    ],
    [
      'an interface that is none',
      () => call(domain, 'org.libvirt.Nope.Nope', 'u', 0),
      { error: UNKNOWN, text: 'Method “Nope” on interface “org.libvirt.Nope” with signature “u” does not exist' },
    ],
    [
      'a path of nobody',
      () => call('/org/libvirt/Foo', 'org.libvirt.Connect.ListDomains', 'u', 0),
      { error: UNKNOWN, text: 'Object does not exist at path “/org/libvirt/Foo”' },
    ],
    [
      'a folder of objects',
      () => call(places.domains, 'Nope'),
      { error: UNKNOWN, text: 'Method “Nope” with signature “” does not exist' },
    ],
    [
      'a domain that is not there',
      () => call(domainPath(places, NOBODY), 'org.libvirt.Domain.ListDomainSnapshots', 'u', 0),
      { error: 'org.libvirt.Error', text: `Domain not found: no domain with matching uuid '${NOBODY}'` },
    ],
    [
      'a snapshot that is not there',
      () => ofSnapshot('none', 'Delete'),
      {
        error: 'org.libvirt.Error',
        text: "Domain snapshot not found: no domain snapshot with matching name 'none'",
      },
    ],
  ] as const)('%s', async (_what, run, reply) => {
    await create('one');
    expect(await run()).toEqual(reply);
  });

  test('a method may be called without its interface', async () => {
    expect(await call(domain, 'ListDomainSnapshots', 'u', 0)).toEqual({ signature: 'ao', values: [[]] });
  });

  test('an error of ours that nobody foresaw is text, and no stack', async () => {
    served = { ...served, domains: { ...served.domains, list: () => Promise.reject(new TypeError('x is not a y')) } };
    const reply = await call(places.connect, 'org.libvirt.Connect.ListDomains', 'u', 0);
    expect(reply).toEqual({ error: 'org.libvirt.Error', text: 'internal error: x is not a y' });
  });
});

describe('introspection', () => {
  const nodes = async (path: string): Promise<readonly string[]> => {
    const reply = await call(path, 'org.freedesktop.DBus.Introspectable.Introspect');
    const [xml = ''] = 'values' in reply ? (reply.values as readonly string[]) : [];
    return [...xml.matchAll(/<(?:interface|node) name="([^"]*)"/g)]
      .map(([, name]) => name ?? '')
      .filter((name) => !name.startsWith('org.freedesktop.'));
  };

  test('leads from the root to every object', async () => {
    await create('a-b');
    const encoded = domain.slice(domain.lastIndexOf('/') + 1);
    expect(await nodes('/')).toEqual(['org']);
    expect(await nodes('/org/libvirt')).toEqual(['Test']);
    expect(await nodes(places.connect)).toEqual(['org.libvirt.Connect', 'domain', 'domainsnapshot']);
    expect(await nodes(places.domains)).toEqual([encoded]);
    expect(await nodes(places.snapshots)).toEqual([`${encoded}_a_2db`]);
    expect(await nodes(domain)).toEqual(['org.libvirt.Domain', 'org.xlsnap.Domain']);
    expect(await nodes(`${places.snapshots}/${encoded}_a_2db`)).toEqual(['org.libvirt.DomainSnapshot']);
  });

  test('of an object that is not there is empty', async () => {
    expect(await nodes(domainPath(places, NOBODY))).toEqual([]);
    expect(await nodes(snapshotPath(places, uuid, 'none'))).toEqual([]);
  });
});

test('whoever pings is answered', async () => {
  expect(await call('/any/path', 'org.freedesktop.DBus.Peer.Ping')).toEqual({ signature: '', values: [] });
  expect(await call('/', 'org.freedesktop.DBus.Peer.GetMachineId')).toEqual({
    signature: 's',
    values: [expect.stringMatching(/^[0-9a-f]{32}$/)],
  });
});
