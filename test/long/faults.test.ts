/**
 * Some pairs of step and fault, chosen from a seed; test/faults tries them all. XLSNAP_FAULTS_SEED chooses others.
 */

import { expect, test } from '@jest/globals';
import { allPairs, campaign, summary } from '../faults/campaign.ts';
import { soak } from '../faults/soak.ts';
import { SUBJECTS } from '../faults/subjects.ts';
import { numbers } from '../support/random.ts';

const SEED = Number(process.env.XLSNAP_FAULTS_SEED ?? 6);
const OPERATIONS = 3;
const PAIRS = 24;
const LIMIT_MS = 600_000;

test(
  `faults at some steps of some operations lose nothing and leave nothing (seed ${SEED})`,
  async () => {
    const random = numbers(SEED);
    const pick = <T>(from: readonly T[], count: number): readonly T[] => {
      const rest = [...from];
      return Array.from({ length: Math.min(count, rest.length) }, () => rest.splice(random(rest.length), 1)).flat();
    };
    const quick = (await allPairs(pick(SUBJECTS, OPERATIONS))).filter(({ fault }) => !fault.slow);
    const report = await campaign(pick(quick, PAIRS));
    process.stdout.write(`${summary(report)}\n`);
    expect(report.complaints).toEqual([]);
  },
  LIMIT_MS,
);

test(
  'clients that create, revert and delete for a while leave the daemon as it was',
  async () => {
    const { before, after } = await soak({ cycles: 40, clients: 8, domains: 4, depth: 20 });
    expect(after).toEqual({ ...before, rssMiB: expect.any(Number) });
  },
  LIMIT_MS,
);
