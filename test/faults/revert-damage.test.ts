/** Guests made at random, each kind of damage, many times: a revert that fails has changed nothing. */

import { expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { DAMAGES, revertAfter } from '../support/hosts/damage.ts';

const ROUNDS = 20;

test(`${ROUNDS} guests for each kind of damage`, async () => {
  await using daemon = await Xlsnapd.start();
  let seed = 1000;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [kind, damage] of Object.entries(DAMAGES)) {
      seed += 1;
      const { refused, before, after } = await revertAfter(daemon, damage, seed);
      expect({ kind, seed, refused, ...after }).toEqual({ kind, seed, refused: true, ...before });
    }
  }
}, 3_600_000);
