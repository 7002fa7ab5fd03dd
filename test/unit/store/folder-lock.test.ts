import { mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { lockFolders } from '../../../src/store/folder-lock.ts';

let dir = '';

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'xlsnap-lock-')));
});

afterEach(() => rm(dir, { recursive: true }));

test('a locked folder is refused to the next one, by whatever name it comes', async () => {
  await using _lock = await lockFolders([join(dir, 'a')]);
  await symlink(join(dir, 'a'), join(dir, 'link'));
  for (const name of ['a', 'link']) {
    await expect(lockFolders([join(dir, name)])).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      message: expect.stringContaining(`another xlsnapd uses the folder '${join(dir, name)}'`),
    });
  }
  await using _other = await lockFolders([join(dir, 'b')]);
});

test('a lock that cannot be had in full is not kept in part', async () => {
  const first = await lockFolders([join(dir, 'b')]);
  await expect(lockFolders([join(dir, 'a'), join(dir, 'b')])).rejects.toThrow("folder '");
  await using _a = await lockFolders([join(dir, 'a')]);
  await first[Symbol.asyncDispose]();
  await using _b = await lockFolders([join(dir, 'b')]);
});

test('a new folder is not taken for one that was removed while its daemon still runs, whatever its number', async () => {
  const locks: AsyncDisposable[] = [];
  try {
    // File systems use the number of a removed folder again, soon.
    for (let i = 0; i < 20; i += 1) {
      locks.push(await lockFolders([join(dir, 'a')]));
      await rm(join(dir, 'a'), { recursive: true });
    }
  } finally {
    for (const lock of locks) await lock[Symbol.asyncDispose]();
  }
});

test('the same folder may serve several purposes of one daemon', async () => {
  await using _lock = await lockFolders([dir, dir]);
});

test('a folder that cannot be made is named', async () => {
  await writeFile(join(dir, 'file'), '');
  await expect(lockFolders([join(dir, 'file/below')])).rejects.toMatchObject({
    code: 'SYSTEM_ERROR',
    message: expect.stringContaining(join(dir, 'file/below')),
  });
});
