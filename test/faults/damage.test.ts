/**
 * Guests made at random, every operation with each kind of damage, many times: XLSNAP_DAMAGE_ROUNDS. XLSNAP_FAULTS
 * chooses operations by a part of their name.
 */

import { expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { operateAfter, PAIRS } from '../support/hosts/damage.ts';

const ROUNDS = Number(process.env.XLSNAP_DAMAGE_ROUNDS ?? 5);
const only = process.env.XLSNAP_FAULTS;

test(`${ROUNDS} guests for each operation and each kind of damage`, async () => {
  await using daemon = await Xlsnapd.start();
  const counts = { refused: 0, succeeded: 0 };
  const wrong: unknown[] = [];
  let seed = 1000;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const pair of PAIRS.filter(([operation]) => only === undefined || operation.includes(only))) {
      seed += 1;
      const result = await operateAfter(daemon, pair, seed);
      counts[result.refused ? 'refused' : 'succeeded'] += 1;
      if (result.wrong.length > 0) wrong.push({ pair, seed, ...result });
    }
  }
  process.stdout.write(`damaged guests: ${JSON.stringify(counts)}, wrong: ${wrong.length}\n`);
  expect(wrong).toEqual([]);
}, 7_200_000);
