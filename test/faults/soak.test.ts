import { expect, test } from '@jest/globals';
import { soak } from './soak.ts';

const LIMIT_MS = 600_000;
/** A heap that has been busy is larger than one that has not; a leak would show in hundreds of operations. */
const HEAP_MIB = 48;

test(
  '1,000 cycles by 8 clients and 100 snapshots in a line leave the daemon as it was',
  async () => {
    const { before, after, ms } = await soak({ cycles: 1_000, clients: 8, domains: 4, depth: 100 });
    process.stdout.write(
      `soak: 1,000 cycles in ${Math.round(ms / 1000)} s; resident ${Math.round(before.rssMiB)} MiB before, ${Math.round(after.rssMiB)} MiB after\n`,
    );
    expect(after).toEqual({ ...before, rssMiB: expect.any(Number) });
    expect(after.rssMiB - before.rssMiB).toBeLessThan(HEAP_MIB);
    expect(ms).toBeLessThan(LIMIT_MS);
  },
  2 * LIMIT_MS,
);
