/**
 * The promise of every operation, over guests made at random, for some pairs of operation and damage. `npm run test:faults`
 * has all of them, many times.
 */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { operateAfter, PAIRS } from '../support/hosts/damage.ts';

/** One pair in so many is tried; the guest is made from the pair's place, so it is the same one in every run. */
const ONE_IN = 13;

const TRIED = PAIRS.map((pair, seed) => ({ operation: pair[0], damage: pair[1], seed, pair })).filter(
  ({ seed }) => seed % ONE_IN === 0,
);

let daemon: Xlsnapd;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

test.each(TRIED)(
  '$operation, and $damage (seed $seed): what is refused has changed nothing and the guest runs; what succeeds is whole',
  async ({ pair, seed }) => {
    expect((await operateAfter(daemon, pair, seed)).wrong).toEqual([]);
  },
);
