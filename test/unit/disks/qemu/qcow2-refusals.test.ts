/** What qemu-img would stop at in the middle of a revert is seen before, in the image's own tables. */

import { copyFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { revertRefusal } from '../../../../src/disks/qemu/qcow2-refusals.ts';
import { readSnapshotTable } from '../../../../src/disks/qemu/qcow2-table.ts';
import { qemuImg } from '../../../support/hosts/embedded.ts';

let folder: string;
let whole: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'refusals-'));
  whole = join(folder, 'whole.qcow2');
  const raw = join(folder, 'raw');
  await writeFile(raw, Buffer.alloc(1 << 20, 7));
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, whole);
  await qemuImg('snapshot', '-c', 's1', whole);
});

afterAll(() => rm(folder, { recursive: true }));

const refusal = async (path: string) => {
  const [snapshot] = await readSnapshotTable(path, 'no table');
  return await revertRefusal(path, snapshot);
};

async function damaged(change: (bytes: Buffer, snapshotL1: number) => void): Promise<string> {
  const path = join(folder, 'damaged.qcow2');
  await copyFile(whole, path);
  const bytes = await readFile(path);
  const [snapshot] = await readSnapshotTable(path, 'no table');
  change(bytes, Number(snapshot?.l1.offset));
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, 0);
  return path;
}

const at = (bytes: Buffer, position: number) => Number(bytes.readBigUInt64BE(position) & 0x00ff_ffff_ffff_fe00n);
const unalign = (bytes: Buffer, position: number) =>
  bytes.writeBigUInt64BE(bytes.readBigUInt64BE(position) | 0x200n, position);
const BEYOND = 0x7fff_0000n;

test('a whole image is not refused', async () => {
  expect(await refusal(whole)).toBeUndefined();
});

test.each<[string, (bytes: Buffer, snapshotL1: number) => void, string]>([
  [
    'an L2 table of the disk is lost',
    (b) => b.writeBigUInt64BE(BEYOND, at(b, 40)),
    'a table of the disk is not in the file',
  ],
  ['an L2 table of the snapshot is lost', (b, l1) => b.writeBigUInt64BE(BEYOND, l1), "a table of snapshot 's1' is not"],
  [
    'a refcount block is lost',
    (b) => b.writeBigUInt64BE(BEYOND, at(b, 48)),
    'a table of its refcounts is not in the file',
  ],
  ['the refcount table is lost', (b) => b.writeBigUInt64BE(BEYOND, 48), 'a table of its refcounts is not in the file'],
  [
    'a cluster of the snapshot is not aligned',
    (b, l1) => unalign(b, at(b, l1)),
    "a cluster of snapshot 's1' is not at",
  ],
])('%s: seen before QEMU stops at it, or puts back zeros', async (_, change, words) => {
  const path = await damaged(change);
  expect(await refusal(path)).toContain(words);
});

test('a cluster that is not aligned is what QEMU itself stops at', async () => {
  const path = await damaged((bytes, l1) => unalign(bytes, at(bytes, l1)));
  await expect(qemuImg('snapshot', '-a', 's1', path)).rejects.toThrow('unaligned');
});

test('a table of 32 MiB is read in parts, between which others have their turns', async () => {
  const path = join(folder, 'huge.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', path, '100G');
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  }, 0);
  await revertRefusal(path);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(20);
});
