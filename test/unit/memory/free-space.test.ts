import { describe, expect, test } from '@jest/globals';
import { requireFreeSpace } from '../../../src/memory/free-space.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

/** More than any file system of a test machine has. */
const PEBIBYTE_KIB = 2 ** 40;

describe('space for a memory image', () => {
  test('may be in a folder that is not there yet', async () => {
    await using folder = await scratchFolder();
    const path = `${folder.path}/not/yet/s1.save`;
    await requireFreeSpace(path, 4, { live: false });
    await expect(requireFreeSpace(path, PEBIBYTE_KIB, { live: false })).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      detail: expect.stringMatching(
        `^not enough space for memory image '${path}': 10952166\\d\\d MiB are needed, \\d+ MiB are free; delete snapshots or make room$`,
      ),
    });
  });

  test('is half as much again for a live save, for pages that change meanwhile', async () => {
    const needed = async (live: boolean) => {
      const error = (await requireFreeSpace('/tmp/s1.save', PEBIBYTE_KIB, { live }).catch((reason) => reason)) as Error;
      return Number(/: (\d+) MiB/.exec(error.message)?.[1]);
    };
    expect((await needed(true)) / (await needed(false))).toBeCloseTo(1.5, 2);
  });
});
