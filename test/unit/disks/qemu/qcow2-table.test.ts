/** The table as we read it, beside qemu-img's reading of it. */

import { execFile } from 'node:child_process';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { imageInfo } from '../../../../src/disks/qemu/image-info.ts';
import { hasBackingImage, readSnapshotTable } from '../../../../src/disks/qemu/qcow2-table.ts';
import { newImage, scratchFolder } from '../../../support/hosts/embedded.ts';

const run = promisify(execFile);

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let path: string;

beforeAll(async () => {
  folder = await scratchFolder();
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

beforeEach(async () => {
  path = await newImage(join(folder.path, 'a.qcow2'));
});

const read = () => readSnapshotTable(path, 'cannot read it');
const asQemuReads = async () => (await imageInfo({ path, format: 'qcow2' })).snapshots;

test('an image without snapshots has none', async () => {
  expect(await read()).toEqual([]);
});

test.each(['1.1', '0.10'])('of version %s: every snapshot is as qemu-img tells it, in its order', async (compat) => {
  await run('qemu-img', ['amend', '-f', 'qcow2', '-o', `compat=${compat}`, path]);
  for (const name of ['s1', 'before upgrade', 'ü', '1', 'x'.repeat(240)]) {
    await run('qemu-io', ['-c', 'write 0 64k', path]);
    await run('qemu-img', ['snapshot', '-c', name, path]);
  }
  await run('qemu-img', ['snapshot', '-d', 's1', path]);
  const snapshots = await read();
  expect(snapshots.map(({ name }) => name)).toEqual(['before upgrade', 'ü', '1', 'x'.repeat(240)]);
  expect(snapshots.map(({ l1: _, ...snapshot }) => snapshot)).toEqual(await asQemuReads());
});

test('a name ends at its first NUL, as for QEMU, and bytes that are not UTF-8 make it no other name', async () => {
  for (const name of ['a-old', 'b-old']) await run('qemu-img', ['snapshot', '-c', name, path]);
  const bytes = await readFile(path);
  bytes[bytes.indexOf('a-old') + 1] = 0;
  bytes[bytes.indexOf('b-old') + 1] = 0xff;
  await writeFile(path, bytes);
  expect((await read()).map(({ name }) => name)).toEqual(['a', 'b\udcffold']);
});

test('as many as QEMU takes, of any size, are read slice by slice: others have their turns', async () => {
  const count = 65_536;
  const entries = Array.from({ length: count }, (_, n) => entry(`s${n}`, n % 1_000 === 0 ? 60_000 : 0));
  await using file = await open(path, 'r+');
  const table = 1 << 20;
  await file.write(Buffer.concat(entries), 0, undefined, table);
  const header = Buffer.alloc(12);
  header.writeUInt32BE(count, 0);
  header.writeBigUInt64BE(BigInt(table), 4);
  await file.write(header, 0, header.length, 60);
  let turns = 0;
  const counting = setInterval(() => {
    turns += 1;
  });
  const snapshots = await read();
  clearInterval(counting);
  expect(snapshots.map(({ name }) => name)).toEqual(entries.map((_, n) => `s${n}`));
  expect(turns).toBeGreaterThan(20);
});

/** An entry of the table, with an id as long as is asked for besides the name. */
function entry(name: string, idBytes: number): Buffer {
  const id = 'i'.repeat(Math.max(1, idBytes));
  const head = Buffer.alloc(40);
  head.writeUInt16BE(id.length, 12);
  head.writeUInt16BE(name.length, 14);
  const bytes = Buffer.concat([head, Buffer.from(id + name)]);
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)]);
}

test('an overlay is told from an image that nothing lies beneath', async () => {
  const overlay = join(folder.path, 'b.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'qcow2', overlay]);
  expect([await hasBackingImage(path), await hasBackingImage(overlay)]).toEqual([false, true]);
});

describe('refused, with the reason', () => {
  const overwrite = async (position: number, bytes: readonly number[]) => {
    await using file = await open(path, 'r+');
    await file.write(Buffer.from(bytes), 0, bytes.length, position);
  };

  beforeEach(async () => {
    await run('qemu-img', ['snapshot', '-c', 's1', path]);
  });

  test('a table that is larger than QEMU takes, before it is read to its end', async () => {
    const entry = Buffer.alloc(40 + 131_064, 'x');
    entry.fill(0, 0, 40);
    entry.writeUInt16BE(65_532, 12);
    entry.writeUInt16BE(65_532, 14);
    await using file = await open(path, 'r+');
    const table = 1 << 20;
    for (let n = 0; n < 600; n += 1) await file.write(entry, 0, entry.length, table + n * entry.length);
    const header = Buffer.alloc(12);
    header.writeUInt32BE(60_000, 0);
    header.writeBigUInt64BE(BigInt(table), 4);
    await file.write(header, 0, header.length, 60);
    await expect(read()).rejects.toThrow('cannot read it: its table of internal snapshots is too big');
  });

  test('a pipe in the place of an image, at once', async () => {
    const pipe = join(folder.path, 'pipe');
    await run('mkfifo', [pipe]);
    await expect(readSnapshotTable(pipe, 'cannot read it')).rejects.toThrow(
      `cannot read it: '${pipe}' is neither a regular file nor a block device`,
    );
  });

  test('a file that is not there', async () => {
    await expect(readSnapshotTable(join(folder.path, 'none'), 'cannot read it')).rejects.toThrow(
      'cannot read it: No such file or directory',
    );
  });

  test.each([
    ['another format', async () => await writeFile(path, 'KDMV'), 'not in qcow2 format'],
    ['an empty file', async () => await truncate(path), 'not in qcow2 format'],
    ['a count past QEMU’s limit', () => overwrite(60, [0xff, 0xff, 0xff, 0xff]), '4294967295 internal snapshots'],
    ['a table beyond the file', () => overwrite(64, [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]), 'is damaged'],
  ])('%s', async (_what, damage, text) => {
    await damage();
    await expect(read()).rejects.toThrow(text);
  });
});
