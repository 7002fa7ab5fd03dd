import { expect, test } from '@jest/globals';
import { lastCommand, lineCommands } from '../../../../src/cli/shell/line-commands.ts';

test.each<readonly [string, readonly (readonly string[])[]]>([
  ['', []],
  [' \t;; ', []],
  ['a b  c', [['a', 'b', 'c']]],
  ['a;b c ;d', [['a'], ['b', 'c'], ['d']]],
  [`a 'b; "c' "d 'e"`, [['a', 'b; "c', "d 'e"]]],
  [`a b'c d'e""`, [['a', 'bc de']]],
  [`a '' ""`, [['a', '', '']]],
  ['a b\\ c \\; \\\\', [['a', 'b c', ';', '\\']]],
  [`a "b\\"\\x" 'c\\'`, [['a', 'b"x', 'c\\']]],
  ['a b#c # d; e', [['a', 'b#c']]],
  ["a 'b c", [['a', 'b c']]],
])('%s', (line, commands) => {
  expect(lineCommands(line)).toEqual(commands);
});

test.each([
  ['a "b', 'missing "'],
  ['a; b "c\\"', 'missing "'],
  ['a \\', 'dangling \\'],
  ['a "b\\', 'dangling \\'],
])('%s is refused', (line, message) => {
  expect(() => lineCommands(line)).toThrow(message);
});

test.each([
  ['a b', 'a b'],
  ['a; b c', ' b c'],
  ["a ';' b", "a ';' b"],
  ['a; b "c;', ' b "c;'],
  ['a;', ''],
])('the last command of %s', (line, last) => {
  expect(lastCommand(line)).toBe(last);
});
