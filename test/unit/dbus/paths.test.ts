import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { domainPath, locate, placesOf, snapshotPath } from '../../../src/dbus/paths.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const ENCODED = '_6695eb01_f6a4_8304_79aa_97f2502e193f';
const places = placesOf('Xen');

describe('as libvirt-dbus writes them', () => {
  test('a domain is named by its UUID', () => {
    expect(domainPath(places, UUID)).toBe(`/org/libvirt/Xen/domain/${ENCODED}`);
  });

  test.each([
    ['plain', 'plain'],
    ['snap-1 ü/x', 'snap_2d1_20_c3_bc_2fx'],
    ['_', '_5f'],
    ['😀', '_f0_9f_98_80'],
    ['', ''],
  ])('snapshot %j ends in %s', (name, encoded) => {
    expect(snapshotPath(places, UUID, name)).toBe(`/org/libvirt/Xen/domainsnapshot/${ENCODED}_${encoded}`);
  });
});

test.each([
  ['/', { kind: 'node', child: 'org' }],
  ['/org', { kind: 'node', child: 'libvirt' }],
  ['/org/libvirt', { kind: 'node', child: 'Xen' }],
  ['/org/libvirt/Xen', { kind: 'connect' }],
  ['/org/libvirt/Xen/domain', { kind: 'domains' }],
  ['/org/libvirt/Xen/domainsnapshot', { kind: 'snapshots' }],
  [`/org/libvirt/Xen/domain/${ENCODED}`, { kind: 'domain', uuid: UUID }],
  [`/org/libvirt/Xen/domainsnapshot/${ENCODED}_a_2db`, { kind: 'snapshot', uuid: UUID, name: 'a-b' }],
])('%s is %j', (path, located) => {
  expect(locate(places, path)).toEqual(located);
});

test.each([
  '/org/libvirt/QEMU',
  '/org/libvirt/XenX',
  '/org/lib',
  '/org/libvirt/Xen/network',
  '/org/libvirt/Xen/domain/test',
  `/org/libvirt/Xen/domain/${ENCODED}/more`,
  `/org/libvirt/Xen/domain/${ENCODED.toUpperCase()}`,
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}`,
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}a`,
  // Not how that name is written: upper case, a letter in digits, a lone underscore, bytes that are no UTF-8.
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}_a_2Db`,
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}__61`,
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}_a_`,
  `/org/libvirt/Xen/domainsnapshot/${ENCODED}__ff`,
])('%s is no path of ours', (path) => {
  expect(locate(places, path)).toBeUndefined();
});

test('every name comes back from its path, which D-Bus takes for one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      const path = snapshotPath(places, UUID, name);
      expect(path).toMatch(/^(\/[A-Za-z0-9_]+)+$/);
      expect(locate(places, path)).toEqual({ kind: 'snapshot', uuid: UUID, name });
    }),
  );
});
