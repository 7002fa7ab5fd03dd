/** Every step × every fault on the embedded host. XLSNAP_FAULTS chooses operations by a part of their name. */

import { expect, test } from '@jest/globals';
import { allPairs, campaign, summary } from './campaign.ts';
import { SUBJECTS } from './subjects.ts';

const LIMIT_MS = 3_600_000;
const LEAST = 300;
const only = process.env.XLSNAP_FAULTS;

test(
  'a fault at any step of any operation loses nothing and leaves nothing',
  async () => {
    const subjects = SUBJECTS.filter(({ name }) => only === undefined || name.includes(only));
    const pairs = await allPairs(subjects);
    const report = await campaign(pairs, (line) => process.stdout.write(line));
    process.stdout.write(`${summary(report)}\n`);
    expect(report.complaints).toEqual([]);
    if (only === undefined) expect(report.trials.filter(({ hits }) => hits > 0).length).toBeGreaterThanOrEqual(LEAST);
  },
  LIMIT_MS,
);
