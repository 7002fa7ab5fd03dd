import { expect, test } from '@jest/globals';
import { LIST } from '../../../src/model/flags.ts';
import { filterOf } from '../../../src/model/list-filter.ts';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';

type Listed = Pick<SnapshotDef, 'state' | 'memory' | 'disks'>;

const running: Listed = { state: 'running', memory: { location: 'internal' }, disks: [] };
const off: Listed = { state: 'shutoff', memory: { location: 'no' }, disks: [{ name: 'xvda', location: 'internal' }] };
const disks: Listed = {
  state: 'disk-snapshot',
  memory: { location: 'no' },
  disks: [{ name: 'xvda', location: 'external' }],
};
const toFile: Listed = { state: 'paused', memory: { location: 'external', file: '/m' }, disks: [] };

const KINDS = { running, off, disks, toFile };
type Kind = keyof typeof KINDS;

test.each<[string, number, readonly Kind[]]>([
  ['no bit', 0, ['running', 'off', 'disks', 'toFile']],
  ['METADATA', LIST.METADATA, ['running', 'off', 'disks', 'toFile']],
  ['NO_METADATA', LIST.NO_METADATA, []],
  ['both metadata bits', LIST.METADATA | LIST.NO_METADATA, ['running', 'off', 'disks', 'toFile']],
  ['ACTIVE', LIST.ACTIVE, ['running', 'toFile']],
  ['INACTIVE', LIST.INACTIVE, ['off']],
  ['DISK_ONLY', LIST.DISK_ONLY, ['disks']],
  ['ACTIVE and DISK_ONLY', LIST.ACTIVE | LIST.DISK_ONLY, ['running', 'disks', 'toFile']],
  ['INTERNAL', LIST.INTERNAL, ['running', 'off']],
  ['EXTERNAL', LIST.EXTERNAL, ['disks', 'toFile']],
  ['INTERNAL and ACTIVE', LIST.INTERNAL | LIST.ACTIVE, ['running']],
  ['bits that are no filter', LIST.ROOTS | LIST.TOPOLOGICAL, ['running', 'off', 'disks', 'toFile']],
])('%s lists the kinds libvirt would', (_, flags, expected) => {
  const listed = (Object.keys(KINDS) as Kind[]).filter((kind) => filterOf(flags)(KINDS[kind], false));
  expect(listed).toEqual(expected);
});

test.each([
  [LIST.LEAVES, false, true],
  [LIST.LEAVES, true, false],
  [LIST.NO_LEAVES, false, false],
  [LIST.NO_LEAVES, true, true],
  [LIST.LEAVES | LIST.NO_LEAVES, false, false],
  [LIST.LEAVES | LIST.NO_LEAVES, true, false],
])('leaf bits 0x%x with children %s: %s', (flags, hasChildren, expected) => {
  expect(filterOf(flags)(running, hasChildren)).toBe(expected);
});
