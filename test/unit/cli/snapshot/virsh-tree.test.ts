import { expect, test } from '@jest/globals';
import { formatBranches } from '../../../../src/cli/snapshot/virsh-tree.ts';

test('nothing is nothing', () => {
  expect(formatBranches([])).toBe('');
});

test('a lone root has an empty line beneath it', () => {
  expect(formatBranches([{ name: 'a' }, { name: 'b' }])).toBe('a\n\nb\n\n');
});

test('branches hang as virsh hangs them, in the order given', () => {
  const entries = [
    { name: 's1' },
    { name: 's2', parent: 's3' },
    { name: 's3', parent: 's1' },
    { name: 's4', parent: 's6' },
    { name: 's5', parent: 's6' },
    { name: 's6', parent: 's3' },
    { name: 's7', parent: 's1' },
    { name: 's8', parent: 's7' },
  ];
  expect(formatBranches(entries).split('\n')).toEqual([
    's1',
    '  |',
    '  +- s3',
    '  |   |',
    '  |   +- s2',
    '  |   +- s6',
    '  |       |',
    '  |       +- s4',
    '  |       +- s5',
    '  |         ',
    '  +- s7',
    '      |',
    '      +- s8',
    '        ',
    '',
  ]);
});

test('two roots with branches stand one beneath the other', () => {
  const entries = [{ name: 'a' }, { name: 'b', parent: 'a' }, { name: 'c' }, { name: 'd', parent: 'c' }];
  expect(formatBranches(entries)).toBe('a\n  |\n  +- b\n    \nc\n  |\n  +- d\n    \n');
});

test('a long chain is drawn without end of the stack', () => {
  const depth = 2_000;
  const entries = Array.from({ length: depth }, (_, at) => ({
    name: `s${at}`,
    ...(at > 0 && { parent: `s${at - 1}` }),
  }));
  expect(formatBranches(entries).split('\n')).toHaveLength(2 * depth + 1);
});
