import { expect, test } from '@jest/globals';
import type { DomainState } from '../../../../src/model/domain.ts';
import { passesDomainFilter, passesSnapshotFilter } from '../../../../src/rpc/server/domain-filter.ts';

const domain = (state: DomainState, persistent: boolean, hasSnapshots: boolean) => ({
  ref: { name: 'a', uuid: '', id: state === 'shutoff' ? -1 : 1 },
  state,
  reason: 0,
  persistent,
  maxMemoryKib: 0n,
  memoryKib: 0n,
  vcpus: 1,
  osType: 'hvm',
  hasSnapshots,
});

const all = [
  ['running', domain('running', true, true)],
  ['transient', domain('paused', false, false)],
  ['off', domain('shutoff', true, false)],
  ['crashed', domain('crashed', true, true)],
] as const;

test.each([
  [0x0, 'running transient off crashed'],
  [0x1, 'running transient crashed'],
  [0x2, 'off'],
  [0x3, 'running transient off crashed'],
  [0x4, 'running off crashed'],
  [0x8, 'transient'],
  [0x10, 'running'],
  [0x20, 'transient'],
  [0x40, 'off'],
  [0x80, 'crashed'],
  [0x30, 'running transient'],
  [0x100, ''],
  [0x200, 'running transient off crashed'],
  [0x400, ''],
  [0x800, 'running transient off crashed'],
  [0x1000, 'running crashed'],
  [0x2000, 'transient off'],
  [0x3000, 'running transient off crashed'],
  [0x4000, ''],
  [0x8000, 'running transient off crashed'],
  [0x1 | 0x4 | 0x1000, 'running crashed'],
  [0x2 | 0x1000, ''],
])('flags %i list: %s', (flags, names) => {
  const passed = all.filter(([, facts]) => passesDomainFilter(flags, facts)).map(([name]) => name);
  expect(passed.join(' ')).toBe(names);
});

test('for the proxy, only the two bits about snapshots count', () => {
  const table = [0x0, 0x3, 0x1000, 0x2000, 0x3000, 0x1001].map((flags) =>
    [true, false].map((has) => passesSnapshotFilter(flags, has)),
  );
  expect(table).toEqual([
    [true, true],
    [true, true],
    [true, false],
    [false, true],
    [true, true],
    [true, false],
  ]);
});
