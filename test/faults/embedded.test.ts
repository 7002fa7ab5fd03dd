/**
 * Every step × every fault on the embedded host, a test for each operation. XLSNAP_FAULTS chooses by a part of a subject's name,
 * XLSNAP_FAULT by a part of a fault's name.
 */

import { expect, test } from '@jest/globals';
import { allPairs, campaign, summary } from './campaign.ts';
import { SUBJECTS } from './subjects.ts';

const LIMIT_MS = 3 * 3_600_000;
const only = process.env.XLSNAP_FAULTS;
const fault = process.env.XLSNAP_FAULT;

/** The least number of faults that must strike in an operation: fewer mean that this looks at too little. */
const LEAST = { create: 250, revert: 250, delete: 250, redefine: 10 };

test.each(Object.entries(LEAST))(
  'a fault at any step of a %s loses nothing and leaves nothing',
  async (operation, least) => {
    const subjects = SUBJECTS.filter(
      ({ name }) => name.startsWith(operation) && (only === undefined || name.includes(only)),
    );
    const pairs = (await allPairs(subjects)).filter((pair) => fault === undefined || pair.fault.name.includes(fault));
    process.stdout.write(`${operation}: ${pairs.length} pairs of step and fault\n`);
    const report = await campaign(pairs, (line) => process.stdout.write(line));
    process.stdout.write(`${operation}: ${summary(report)}\n`);
    expect(report.complaints).toEqual([]);
    if (only === undefined && fault === undefined)
      expect(report.trials.filter(({ hits }) => hits > 0).length).toBeGreaterThanOrEqual(least);
  },
  LIMIT_MS,
);
