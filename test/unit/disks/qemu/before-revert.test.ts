import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { QCOW2_BEFORE_REVERT } from '../../../../src/disks/qemu/before-revert.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import { snapshotsIn } from '../../../support/disks/images.ts';
import { twoImages } from '../../../support/disks/two-images.ts';
import { disk, hasPattern, qemuImg, writePattern } from '../../../support/hosts/embedded.ts';

const KEPT = '.xlsnap-before-revert';
const ROOM = 4 << 20;
let two: Awaited<ReturnType<typeof twoImages>>;

beforeEach(async () => {
  two = await twoImages();
});

afterEach(async () => {
  await two[Symbol.asyncDispose]();
});

/** So many disks that the file system of `path` has no room for all. */
async function tooMany(path: string): Promise<readonly LibxlDiskSnapshot[]> {
  const { bavail, bsize } = await statfs(dirname(two.a));
  return new Array(Math.floor((bavail * bsize) / ROOM) + 1000).fill(disk('xvda', path));
}

test('room is asked for all images in a file system together', async () => {
  await QCOW2_BEFORE_REVERT.checkRoom('s1', two.disks);
  await expect(QCOW2_BEFORE_REVERT.checkRoom('s1', await tooMany(two.a))).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringMatching(
      `^no space to keep what image '${two.a}' of disk 'xvda' holds until all disks are reverted: \\d+ MiB are needed, and \\d+ MiB are free in '${two.folder}'$`,
    ),
  });
});

test('an image on a device needs no room in a file system', async () => {
  await QCOW2_BEFORE_REVERT.checkRoom('s1', await tooMany('/dev/null'));
});

test('what an earlier revert has kept makes room for what the images hold now', async () => {
  await writePattern(two.a, 'qcow2', 0x11);
  await QCOW2_BEFORE_REVERT.keep('s1', two.disks);
  await writePattern(two.a, 'qcow2', 0x22);
  await QCOW2_BEFORE_REVERT.keep('s1', two.disks);
  expect(await snapshotsIn(two.a)).toEqual([KEPT]);
  await writePattern(two.a, 'qcow2', 0x33);
  await QCOW2_BEFORE_REVERT.putBack(two.disks);
  expect(await hasPattern(two.a, 'qcow2', 0x22)).toBe(true);
});

test('nothing is left in an image that has only other snapshots', async () => {
  await qemuImg('snapshot', '-c', 's1', two.a);
  expect(await QCOW2_BEFORE_REVERT.leftovers(disk('xvda', two.a).disk)).toEqual([]);
  await qemuImg('snapshot', '-c', KEPT, two.a);
  expect(await QCOW2_BEFORE_REVERT.leftovers(disk('xvda', two.a).disk)).toMatchObject([{ kind: 'kept' }]);
});
