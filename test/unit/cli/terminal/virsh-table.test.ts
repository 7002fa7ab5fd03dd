import { expect, test } from '@jest/globals';
import { formatTable } from '../../../../src/cli/terminal/virsh-table.ts';

const show = (rows: readonly (readonly string[])[], quiet = false): string =>
  formatTable(['Name', 'State'], rows, { quiet });

test('columns are as wide as their widest cell, and the last one ends where its text ends', () => {
  expect(
    show([
      ['s1', 'running'],
      ['a longer name', 'shutoff'],
    ]),
  ).toBe(` Name            State
--------------------------
 s1              running
 a longer name   shutoff
`);
});

test('without rows there are headline and rule', () => {
  expect(show([])).toBe(' Name   State\n---------------\n');
});

test('quiet leaves both away, but not their widths', () => {
  expect(show([['s', 'running']], true)).toBe(' s      running\n');
  expect(show([], true)).toBe('');
});

test('an empty last cell leaves its gap', () => {
  expect(show([['s1', '']])).toBe(' Name   State\n---------------\n s1     \n');
});

test('wide characters take two columns, and marks none', () => {
  expect(
    show([
      ['漢字', 'x'],
      ['e\u0301', 'x'],
    ]),
  ).toBe(' Name   State\n---------------\n 漢字   x\n e\u0301      x\n');
});

test('what a terminal would obey is shown as bytes', () => {
  expect(show([['a\tb\x1b[31m', 'x\u009b']])).toContain(' a\\x09b\\x1b[31m   x\\xc2\\x9b\n');
});
