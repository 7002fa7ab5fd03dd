import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { BusyPoll } from '../../../../src/rpc/proxy/busy-poll.ts';

/** Longer than connections have to be apart to count as one alone. */
const LONG_MS = 40;

let again: jest.SpiedFunction<typeof setImmediate>;

beforeEach(() => {
  again = jest.spyOn(globalThis, 'setImmediate');
});

afterEach(() => again.mockRestore());

const ONE = {};
const OTHER = {};

/** How often the loop was sent round again until it slept. */
async function rounds(): Promise<number> {
  await sleep(LONG_MS);
  const count = again.mock.calls.length;
  await sleep(LONG_MS);
  expect(again.mock.calls).toHaveLength(count);
  again.mockClear();
  return count;
}

/** A poll that has known `ONE` for long enough. */
async function known(processors: number, preemptions = () => 0): Promise<BusyPoll> {
  const poll = new BusyPoll(processors, preemptions);
  poll.expect(ONE);
  await rounds();
  return poll;
}

test('a client alone keeps the loop awake after its frame, and it sleeps soon after', async () => {
  const poll = await known(2);
  poll.expect(ONE);
  expect(again).toHaveBeenCalledTimes(1);
  expect(await rounds()).toBeGreaterThan(0);
});

test('frames that follow each other lengthen the one wait, and begin no second', async () => {
  const poll = await known(2);
  poll.expect(ONE);
  poll.expect(ONE);
  expect(again).toHaveBeenCalledTimes(1);
  await rounds();
});

test('clients at work at the same time keep nothing awake, until one is alone again', async () => {
  const poll = await known(2);
  for (let n = 0; n < 10; n += 1) {
    poll.expect(OTHER);
    poll.expect(ONE);
  }
  expect(await rounds()).toBe(0);
  poll.expect(ONE);
  expect(await rounds()).toBeGreaterThan(0);
});

test('on the only processor nothing is kept awake: libvirtd needs it', async () => {
  const poll = await known(1);
  poll.expect(ONE);
  expect(await rounds()).toBe(0);
});

test('if other processes want the processor, it is left to them', async () => {
  let preemptions = 0;
  const poll = await known(2, () => preemptions);
  poll.expect(ONE);
  expect(await rounds()).toBeGreaterThan(0);
  const now = jest.spyOn(performance, 'now');
  const looked = performance.now();
  now.mockReturnValueOnce(looked);
  poll.expect(ONE);
  preemptions += 1;
  now.mockReturnValueOnce(looked + 25);
  poll.expect(ONE);
  await rounds();
  poll.expect(ONE);
  now.mockRestore();
  expect(await rounds()).toBe(0);
});
