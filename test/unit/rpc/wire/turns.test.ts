import { setImmediate } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { type Lane, Turns } from '../../../../src/rpc/wire/turns.ts';

/** Joins with `steps` of work, each of which is noted and takes `ms`. */
function worker(turns: Turns, lane: Lane, name: string, steps: number, done: string[], ms = 0) {
  let left = steps;
  return turns.join(lane, () => {
    done.push(name);
    for (const end = performance.now() + ms; performance.now() < end; );
    left -= 1;
    return left > 0;
  });
}

async function finished(done: readonly string[], count: number): Promise<void> {
  for (let rounds = 0; done.length < count && rounds < 1_000; rounds += 1) await setImmediate();
}

test('who asks while nobody works has the first turn at once', () => {
  const done: string[] = [];
  worker(new Turns(), 'write', 'a', 1, done).ask();
  expect(done).toEqual(['a']);
});

test('places take turns, write before read-only ones', async () => {
  const turns = new Turns();
  const done: string[] = [];
  const places = [
    worker(turns, 'read-only', 'r', 3, done),
    worker(turns, 'write', 'a', 2, done),
    worker(turns, 'write', 'b', 2, done),
    worker(turns, 'read-only', 's', 2, done),
  ];
  for (const place of places) place.ask();
  await finished(done, 9);
  expect(done.join('')).toBe('rababrsrs');
});

test('the event loop has its turn after a slice, however much is left to do', async () => {
  const done: string[] = [];
  worker(new Turns(), 'read-only', 'r', 20, done, 1).ask();
  await setImmediate();
  expect(done.length).toBeLessThan(5);
  await finished(done, 20);
  expect(done.length).toBe(20);
});
