/** The promise of a revert, over guests made at random: each kind of damage once. `npm run test:faults` does it twenty times. */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { DAMAGES, revertAfter } from '../support/hosts/damage.ts';

let daemon: Xlsnapd;
let seed = 0;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

test.each(Object.entries(DAMAGES))(
  '%s: the revert fails, the guest runs, every byte is as before',
  async (_, damage) => {
    seed += 1;
    const { refused, error, before, after } = await revertAfter(daemon, damage, seed);
    expect(error).toMatch(/\S/);
    expect(refused).toBe(true);
    expect(after).toEqual(before);
  },
);
