/** What qemu-img would stop at in the middle of a revert is seen before, in the image's own tables. */

import { copyFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
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

async function damaged(change: (bytes: Buffer, snapshotL1: number) => void, from = whole): Promise<string> {
  const path = join(folder, 'damaged.qcow2');
  await copyFile(from, path);
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

describe('a dirty bitmap', () => {
  /** The place of the data of the header's extension of bitmaps. */
  const extension = (bytes: Buffer) => bytes.indexOf(Buffer.from('2385287500000018', 'hex')) + 8;
  let marked: string;

  beforeAll(async () => {
    marked = join(folder, 'marked.qcow2');
    await copyFile(whole, marked);
    await qemuImg('bitmap', '--add', marked, 'b 1');
  });

  test('refuses the revert, which QEMU refuses, and the way out can be pasted', async () => {
    expect(await refusal(marked)).toContain(`has dirty bitmap 'b 1', and QEMU reverts no image that has one`);
    expect(await refusal(marked)).toContain(`qemu-img bitmap --remove ${marked} 'b 1'`);
    await expect(qemuImg('snapshot', '-a', 's1', marked)).rejects.toThrow('Device has active dirty bitmaps');
  });

  test('that somebody has lost who does not know bitmaps is in nobody’s way', async () => {
    // Programs that do not know them clear the bit.
    const path = await damaged((bytes) => bytes.writeBigUInt64BE(0n, 88), marked);
    expect(await refusal(path)).toBeUndefined();
    await qemuImg('snapshot', '-a', 's1', path);
  });

  test('must be there if the header says that there are some: QEMU does not open the image otherwise', async () => {
    const path = await damaged((bytes) => bytes.writeUInt32BE(0, extension(bytes)), marked);
    await expect(refusal(path)).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      detail: `cannot read image '${path}': found bitmaps extension with zero bitmaps`,
    });
    await expect(qemuImg('snapshot', '-a', 's1', path)).rejects.toThrow('found bitmaps extension with zero bitmaps');
  });
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
