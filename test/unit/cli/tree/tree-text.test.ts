import { describe, expect, test } from '@jest/globals';
import { kindOf, ownBytes } from '../../../../src/cli/storage/domain-facts.ts';
import { formatAge, formatBytes } from '../../../../src/cli/terminal/quantities.ts';
import { treeText } from '../../../../src/cli/tree/tree-text.ts';
import { diskOf, factsOf } from '../../../support/snapshot-facts.ts';

const memory = (allocatedBytes: number | undefined) => ({ memory: { path: '/m', allocatedBytes } });
const plain = { now: 7_300n, kept: new Set<string>(), colour: false, quiet: false };

describe('the tree', () => {
  const tree = [
    factsOf('clean', { ...memory(4 << 20), creationTime: 100n }),
    factsOf('upgraded', {
      parent: 'clean',
      creationTime: 3_700n,
      kind: 'external',
      current: true,
      ...memory(undefined),
    }),
    factsOf('漢字', { parent: 'upgraded', creationTime: 7_290n, state: 'disk-snapshot', kind: 'disk-only' }),
    factsOf('old', { parent: 'clean', creationTime: 200n, state: 'shutoff', kind: 'offline' }),
    factsOf('lost', { parent: 'not there', creationTime: 50n }),
  ];

  test('names those that are protected', () => {
    const text = treeText(tree, { ...plain, kept: new Set(['upgraded']) });
    expect(text).toMatch(/^ clean +running/m);
    expect(text).toMatch(/─ upgraded \* \(protected\) +running/);
    expect(text.match(/protected/g)).toHaveLength(1);
  });

  test('lists parents before children, the older first, the current one marked, columns as they show', () => {
    expect(treeText(tree, plain)).toBe(
      ` Snapshot        State           Kind            Size       Age
-----------------------------------------------------------------
 lost            running         internal      0.00 B       2 h
 clean           running         internal    4.00 MiB       2 h
 ├─ old          shutoff         offline       0.00 B   118 min
 └─ upgraded *   running         external           ?    60 min
    └─ 漢字      disk-snapshot   disk-only     0.00 B      10 s
`,
    );
  });

  test('is without heading when quiet, and empty but for it without snapshots', () => {
    expect(treeText(tree, { ...plain, quiet: true }).split('\n')[0]).toMatch(/^ lost/);
    expect(treeText([], { ...plain, quiet: true })).toBe('');
  });

  test('has colours only where they are wanted, and they move no column', () => {
    const coloured = treeText(tree, { ...plain, colour: true });
    expect(coloured).toContain('\x1b[36mexternal\x1b[0m');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape is what is looked for
    expect(coloured.replace(/\x1b\[\d*m/g, '')).toBe(treeText(tree, plain));
  });

  test('shows a control character in a name as the byte it is', () => {
    expect(treeText([factsOf('a\tb')], { ...plain, quiet: true })).toContain('a\\x09b');
  });

  test('is whole for parents that form a ring', () => {
    const ring = [factsOf('a', { parent: 'b' }), factsOf('b', { parent: 'a' })];
    expect(treeText(ring, { ...plain, quiet: true }).match(/running/g)).toHaveLength(2);
  });
});

test.each([
  ['internal', 'running', { location: 'internal' }, 'internal'],
  ['external', 'running', { location: 'internal' }, 'external'],
  ['internal', 'running', { location: 'external', file: '/m' }, 'external'],
  ['external', 'disk-snapshot', { location: 'no' }, 'disk-only'],
  ['internal', 'shutoff', { location: 'no' }, 'offline'],
  ['external', 'shutoff', { location: 'no' }, 'external'],
] as const)('disks %s, state %s, memory %j: kind %s', (location, state, memory, kind) => {
  expect(kindOf({ state, memory, disks: [{ name: 'xvda', location }] })).toBe(kind);
});

test('the size is that of the files of the snapshot alone, unknown where one is', () => {
  const inside = diskOf('xvda', '/i/a');
  const layer = (allocatedBytes: number | undefined) => {
    const disk = diskOf('xvdb', '/i/b', '/i/b.s1');
    return { ...disk, overlay: { path: '/i/b.s1', format: 'qcow2', allocatedBytes, removed: false } };
  };
  expect(ownBytes({ ...memory(5), disks: [inside, layer(7)] })).toBe(12);
  expect(ownBytes({ ...memory(5), disks: [layer(undefined)] })).toBeUndefined();
  expect(ownBytes({ disks: [inside] })).toBe(0);
});

test('sizes are printed as virsh prints a capacity', () => {
  expect([0, 1023, 1024, 4_331_520, 3 * 2 ** 40, 2 ** 70].map(formatBytes)).toEqual([
    '0.00 B',
    '1023.00 B',
    '1.00 KiB',
    '4.13 MiB',
    '3.00 TiB',
    '1024.00 EiB',
  ]);
});

test('ages go up in units that are never far off', () => {
  const ages = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800, 15 * 86_400, 800 * 86_400];
  expect(ages.map(formatAge)).toEqual([
    '0 s',
    '0 s',
    '119 s',
    '2 min',
    '119 min',
    '2 h',
    '47 h',
    '2 days',
    '2 weeks',
    '2 years',
  ]);
});
