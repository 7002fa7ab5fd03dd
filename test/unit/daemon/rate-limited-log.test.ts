import { expect, test } from '@jest/globals';
import { bounded } from '../../../src/daemon/rate-limited-log.ts';

test('twenty lines a minute are written; the next minute begins with how many were not', () => {
  const lines: string[] = [];
  let now = 0;
  const say = bounded(
    (text) => lines.push(text),
    () => now,
  );
  for (let n = 1; n <= 25; n += 1) say(`line ${n}`);
  now = 59_999;
  say('late');
  expect(lines).toHaveLength(20);
  expect(lines.at(-1)).toBe('line 20');
  now = 60_000;
  say('next');
  expect(lines.slice(20)).toEqual(['6 more lines like the last ones were left out', 'next']);
  now = 120_000;
  say('quiet');
  expect(lines.slice(22)).toEqual(['quiet']);
});
