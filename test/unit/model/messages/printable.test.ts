import { expect, test } from '@jest/globals';
import { isPrintable, printable, printableJson, printableLines } from '../../../../src/model/messages/printable.ts';

test.each([
  ['ESC', '\x1b]0;title\x07', '\\x1b]0;title\\x07'],
  ['CR', 'a\rb', 'a\\x0db'],
  ['a line end', 'a\nb', 'a\\x0ab'],
  ['DEL', 'a\x7fb', 'a\\x7fb'],
  ['CSI of C1', 'a\u009b2Kb', 'a\\xc2\\x9b2Kb'],
  ['right-to-left override', 'a\u202eb', 'a\\xe2\\x80\\xaeb'],
  ['an isolate', '\u2067', '\\xe2\\x81\\xa7'],
  ['a mark of direction', '\u200f', '\\xe2\\x80\\x8f'],
  ['line and paragraph separators', '\u2028\u2029', '\\xe2\\x80\\xa8\\xe2\\x80\\xa9'],
])('%s becomes its bytes', (_what, text, shown) => {
  expect(printable(text)).toBe(shown);
  expect(printableLines(text)).toBe(text.includes('\n') ? text : shown);
  expect(isPrintable(text)).toBe(false);
  const json = JSON.stringify({ [text]: text }, undefined, 2);
  expect(printableJson(json).replaceAll('\n', '')).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(printableJson(json))).toEqual({ [text]: text });
});

test.each(['', 'snapshot 1', 'ünïcode 漢字 שלום', '🙂', "a'b\\c"])('%j stays', (text) => {
  expect([printable(text), printableLines(text), isPrintable(text)]).toEqual([text, text, true]);
});

test('a text of several lines keeps line ends and tabs', () => {
  expect(printableLines('a\n\tb\r\n')).toBe('a\n\tb\\x0d\n');
});
