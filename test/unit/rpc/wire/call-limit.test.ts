/** How many calls of one client are carried out at a time, and which wait. */

import { expect, test } from '@jest/globals';
import { CallLimit } from '../../../../src/rpc/wire/call-limit.ts';

/** A client with its calls; its turns come when `turn` is called. */
function client() {
  const ends: (() => void)[] = [];
  const state = { reads: true, asked: false, started: 0 };
  let step = (): boolean => false;
  const takeTurns = (given: () => boolean) => {
    step = given;
    const ask = () => {
      state.asked = true;
    };
    return { ask };
  };
  const limit: CallLimit = new CallLimit(takeTurns, { mayStart: () => state.reads, onEnd: () => limit.advance() });
  return {
    ...{ limit, state },
    call: () =>
      limit.run(() => {
        state.started += 1;
        return new Promise((resolve) => ends.push(resolve));
      }),
    turn: () => {
      const asked = state.asked;
      state.asked = false;
      if (asked) state.asked = step();
    },
    endOne: async () => {
      ends.shift()?.();
      await new Promise(setImmediate);
    },
  };
}

test('with twenty calls waiting or under way no further one is read, until one has ended', async () => {
  const { limit, call, turn, endOne } = client();
  for (let n = 0; n < 19; n += 1) call();
  expect(limit.reached).toBe(false);
  call();
  expect(limit.reached).toBe(true);
  for (let n = 0; n < 20; n += 1) turn();
  expect(limit.reached).toBe(true);
  await endOne();
  expect(limit.reached).toBe(false);
});

test('each call that waits is started in a turn of its own', () => {
  const { state, call, turn } = client();
  call();
  call();
  expect(state.started).toBe(0);
  turn();
  expect(state.started).toBe(1);
  turn();
  expect([state.started, state.asked]).toEqual([2, false]);
});

test('nothing is started for a client that does not read its replies, in a turn that was asked for before either', () => {
  const { limit, state, call, turn } = client();
  call();
  call();
  state.reads = false;
  turn();
  expect([state.started, state.asked]).toEqual([0, false]);
  limit.advance();
  expect(state.asked).toBe(false);
  state.reads = true;
  limit.advance();
  turn();
  expect(state.started).toBe(1);
});
