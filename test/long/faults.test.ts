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

/** Subjects and faults that were not survived once. */
const ONCE: Readonly<Record<string, readonly string[]>> = {
  'delete, external, with children': ['folders cannot be synced'],
  'delete, external, with a child on its overlays': ['the image may not be opened', 'the image cannot be synced'],
};

test(
  'nor do these, at any step',
  async () => {
    const pairs = await allPairs(SUBJECTS.filter(({ name }) => name in ONCE));
    const { complaints, trials } = await campaign(
      pairs.filter(({ subject, fault }) => ONCE[subject.name]?.includes(fault.name)),
    );
    expect(complaints).toEqual([]);
    expect(trials.length).toBeGreaterThan(5);
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
