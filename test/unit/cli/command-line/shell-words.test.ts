import { describe, expect, test } from '@jest/globals';
import { completed, readLine } from '../../../../src/cli/command-line/shell-words.ts';

describe('a line', () => {
  test.each([
    ['xlsnap', [], 'xlsnap'],
    ['xlsnap ', ['xlsnap'], ''],
    ['  xlsnap   snap', ['xlsnap'], 'snap'],
    ["a 'b c' d", ['a', 'b c'], 'd'],
    ['a "b \\"c\\" $d" e', ['a', 'b "c" $d'], 'e'],
    ['a b\\ c d', ['a', 'b c'], 'd'],
    ["a''b x", ['ab'], 'x'],
    ["a '' x", ['a', ''], 'x'],
    ["a 'b c", ['a'], 'b c'],
    ['a "b c', ['a'], 'b c'],
    ['a "b\\', ['a'], 'b\\'],
    ['a b\\', ['a'], 'b'],
    ['', [], ''],
  ])('%j', (line, words, current) => {
    expect(readLine(line)).toMatchObject({ words, current });
  });

  test.each([
    ["x 'b c", "'"],
    ['x "b c', '"'],
    ["x 'b c'", ''],
    ['x b', ''],
  ])('%j has its last quote open or not', (line, quote) => {
    expect(readLine(line).quote).toBe(quote);
  });

  test.each([
    ['x --from=s', 7],
    ['x --from=a:b', 9],
    ['x a=b plain', 0],
    ["x 'a=b", 0],
    ['x a\\=b', 0],
  ])('%j: what the shell takes for words of their own is kept', (line, kept) => {
    expect(readLine(line).kept).toBe(kept);
  });
});

test.each([
  ['plain-name_1.2', 'plain-name_1.2'],
  ['with space', 'with\\ space'],
  ["it's $x; `y`", "it\\'s\\ \\$x\\;\\ \\`y\\`"],
  ['ünïcode漢字', 'ünïcode漢字'],
])('%j is one word when completed', (text, word) => {
  expect(completed(text, '')).toEqual([word]);
  expect(readLine(`x ${word} `).words[1]).toBe(text);
});

describe('within an open quote', () => {
  test.each([
    ["'", 'a b', true],
    ["'", '$(x) `y` "z" \\ !', true],
    ["'", "it's", false],
    ['"', 'a b', true],
    ['"', "it's", true],
    ['"', '$(touch x)', false],
    ['"', '`touch x`', false],
    ['"', 'a"b', false],
    ['"', 'a\\b', false],
    ['"', 'a!b', false],
  ])('%s %j is offered: %p', (quote, text, isOffered) => {
    expect(completed(text, quote)).toEqual(isOffered ? [text] : []);
  });
});
