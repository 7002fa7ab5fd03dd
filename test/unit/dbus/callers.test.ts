/** What a caller may use whom libvirt's access drivers judge: each by the action that libvirt-dbus' call of libvirt needs. */

import { expect, test } from '@jest/globals';
import { Acl } from '../../../src/access/acl.ts';
import { Callers } from '../../../src/dbus/callers.ts';
import { dispatch } from '../../../src/dbus/dispatch.ts';
import { domainPath, placesOf } from '../../../src/dbus/paths.ts';
import { MemoryDomains } from '../../support/fakes/domains-in-memory.ts';
import { MemorySnapshots } from '../../support/fakes/snapshots-in-memory.ts';

const places = placesOf('Xen');
const events = { emit: () => {}, expect: () => ({ [Symbol.dispose]: () => {} }) };

/** What a call on the bus answers a caller who has these permissions: its values, or its error. */
async function answered(
  granted: readonly string[],
  path: string,
  member: string,
  signature: string,
  ...args: unknown[]
) {
  const domains = new MemoryDomains(events);
  const { uuid } = await domains.createXML('<domain><name>vm</name></domain>');
  const all = async () => (await domains.domains()).map(({ ref }) => ref);
  const found = async (wanted: Parameters<typeof domains.domain>[0]) => domains.domain(wanted);
  const served = {
    places,
    snapshots: new MemorySnapshots(events),
    domains: { lookup: found, state: found, all, list: all, version: async () => 1n, libVersion: async () => 1n },
  };
  const check = async ({ action }: { readonly action: string }) => ({
    authorized: granted.includes(action.replace('org.libvirt.api.', '')),
    ...{ challenge: false, dismissed: false },
  });
  const callers = new Callers({
    socket: { uid: 0, gid: 0, mode: 0o666 },
    entry: { scheme: 'none' },
    acl: new Acl({ driver: 'Xen', nameOf: async () => 'vm', authority: { check } }),
  });
  const admitted = await callers.admit(served, ':1.7', { uid: 54_321, gids: [] });
  if ('refused' in admitted) return admitted.refused;
  const dot = member.lastIndexOf('.');
  const [where, name] = [member.slice(0, dot), member.slice(dot + 1)];
  const call = { sender: ':1.7', path: path.replace('UUID', domainPath(places, uuid)), interface: where, member: name };
  const reply = await dispatch(admitted, { ...call, signature, args });
  return 'error' in reply ? reply.text : JSON.stringify(reply.values);
}

const DENIED = "access denied: 'Xen' denied access";
const list = (...granted: readonly string[]) =>
  answered(granted, places.connect, 'org.libvirt.Connect.ListDomains', 'u', 0);
const lookup = (...granted: readonly string[]) =>
  answered(granted, places.connect, 'org.libvirt.Connect.DomainLookupByName', 's', 'vm');
const property = (name: string, ...granted: readonly string[]) =>
  answered(granted, 'UUID', 'org.freedesktop.DBus.Properties.Get', 'ss', 'org.libvirt.Domain', name);

test('nobody calls without connect.getattr', async () => {
  expect(await list('connect.search-domains', 'domain.getattr')).toBe(DENIED);
});

test('the list needs connect.search-domains, and has those domains whose attributes the caller may get', async () => {
  expect(await list('connect.getattr', 'domain.getattr')).toBe(DENIED);
  expect(await list('connect.getattr', 'connect.search-domains')).toBe('[[]]');
  expect(await list('connect.getattr', 'connect.search-domains', 'domain.getattr')).toContain('/domain/');
});

test('a lookup needs no list', async () => {
  expect(await lookup('connect.getattr', 'domain.getattr')).toContain('/domain/');
  expect(await lookup('connect.getattr')).toContain("no domain with matching name 'vm'");
});

test("a domain's name needs domain.getattr, its state domain.read", async () => {
  const attributes = ['connect.getattr', 'domain.getattr'];
  expect(await property('Name', ...attributes)).toContain('vm');
  for (const name of ['Active', 'Persistent']) {
    expect(await property(name, ...attributes)).toBe(DENIED);
    expect(await property(name, ...attributes, 'domain.read')).toContain('"signature":"b"');
  }
});
