import { describe, expect, test } from '@jest/globals';
import { progressLine, sampleOf, summaryLine } from '../../../../src/cli/job/progress.ts';
import type { JobStats } from '../../../../src/client/api.ts';

const MIB = 1 << 20;

const stats = (known: Partial<JobStats>): JobStats => ({ type: 'unbounded', ...known });
const sample = (mib: number, at: number) => ({ done: mib * MIB, total: 256 * MIB, at });

describe('a sample', () => {
  test('is what has been written of the memory', () => {
    expect(sampleOf(stats({ memoryTotal: 10, memoryProcessed: 4 }), 7)).toEqual({
      done: 4,
      total: 10,
      at: 7,
    });
  });

  test.each([
    ['no job', {}],
    ['a job without memory', { timeElapsed: 3 }],
    ['memory of which nothing is known yet', { memoryTotal: 0, memoryProcessed: 0 }],
  ])('is none of %s', (_what, numbers) => {
    expect(sampleOf(stats(numbers), 0)).toBeUndefined();
  });
});

describe('the bar', () => {
  test('has bytes, percent and rate, the rate as soon as there is one', () => {
    expect(progressLine(sample(0, 0), sample(0, 0), 100)).toBe(
      'Writing memory [                                        ]  0% 0.00 B of 256.00 MiB',
    );
    expect(progressLine(sample(0, 0), sample(64, 2_000), 100)).toBe(
      'Writing memory [=========>                              ] 25% 64.00 MiB of 256.00 MiB, 32.00 MiB/s',
    );
    expect(progressLine(sample(0, 0), sample(256, 4_000), 120)).toBe(
      'Writing memory [========================================]100% 256.00 MiB of 256.00 MiB, 64.00 MiB/s',
    );
  });

  test('never fills a line, so that none is begun', () => {
    for (let columns = 1; columns < 140; columns += 1) {
      expect(progressLine(sample(0, 0), sample(128, 1_000), columns).length).toBeLessThan(columns);
    }
  });

  test('where the terminal does not say how wide it is, fits into 80 columns', () => {
    for (const columns of [undefined, 0]) {
      const line = progressLine(sample(0, 0), sample(128, 1_000), columns);
      expect(line.length).toBeLessThan(80);
      expect(line).toMatch(/^Writing memory \[=+> +\] 50%/);
    }
  });

  test('what comes on top of the estimate is still all of it', () => {
    expect(progressLine(sample(0, 0), sample(300, 1_000), 120)).toContain(']100% 300.00 MiB of 256.00 MiB');
  });
});

describe('the last line', () => {
  const reverted = { operation: 'snapshot-revert' } as const;
  const written = { memoryProcessed: 256 * MIB, timeElapsed: 4_000 };

  test('tells how long it took, and how long the guest stood', () => {
    expect(summaryLine(stats({ ...written, downtime: 41 }))).toBe(
      'Memory: 256.00 MiB in 4.0 s, 64.00 MiB/s; the guest was paused for 41 ms',
    );
    expect(summaryLine(stats({ ...written, downtime: 1_500 }))).toContain('paused for 1.5 s');
  });

  test('of a revert says what its time went into, and how long the guest was stopped', () => {
    const phases = { begun: 20, destroy: 41, disks: 60, restore: 1_100 };
    expect(summaryLine(stats({ ...reverted, timeElapsed: 1_300, phases, downtime: 1_201 }))).toBe(
      'Reverted in 1.3 s: destroy 41 ms, disks 60 ms, restore 1.1 s; the guest was stopped for 1.2 s',
    );
    expect(summaryLine(stats({ ...reverted, timeElapsed: 90, phases: { disks: 60 } }))).toBe(
      'Reverted in 90 ms: disks 60 ms',
    );
    expect(summaryLine(stats({ ...reverted, timeElapsed: 90 }))).toBeUndefined();
  });

  test('says nothing of what is not known', () => {
    expect(summaryLine(stats({ ...written, timeElapsed: 0 }))).toBe('Memory: 256.00 MiB in 0 ms');
    expect(summaryLine(stats({ timeElapsed: 7 }))).toBeUndefined();
    expect(summaryLine(stats({}))).toBeUndefined();
  });
});
