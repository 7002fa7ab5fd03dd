import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openSystemCalls } from '../../../src/native/system-calls.ts';
import { LOCK_FILE, lockFolders as lockFoldersBy } from '../../../src/store/folder-lock.ts';

const DIST = resolve(import.meta.dirname, '../../../dist');

const { lockFile } = await openSystemCalls();
const lockFolders = (folders: readonly string[]) => lockFoldersBy(folders, lockFile);

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

test('a folder that the system cannot lock is named, and is not taken for a locked one', async () => {
  const failing = lockFoldersBy([dir], () => {
    throw new Error('No locks available');
  });
  await expect(failing).rejects.toThrow(`cannot lock folder '${dir}'`);
});

test('only the owner of the folder can open what is locked, also in a folder that everybody may read', async () => {
  await chmod(dir, 0o755);
  await using _lock = await lockFolders([dir]);
  expect((await stat(join(dir, LOCK_FILE))).mode & 0o777).toBe(0o600);
});

test('a link in the place of the lock is not followed', async () => {
  await symlink(join(dir, 'elsewhere'), join(dir, LOCK_FILE));
  await expect(lockFolders([dir])).rejects.toThrow(`cannot open lock file '${join(dir, LOCK_FILE)}'`);
  await expect(stat(join(dir, 'elsewhere'))).rejects.toMatchObject({ code: 'ENOENT' });
});

/** Locks a folder, says so, and stays. */
const HOLDER = `
  const { openSystemCalls } = await import('${DIST}/native/system-calls.js');
  const { lockFolders } = await import('${DIST}/store/folder-lock.js');
  globalThis.lock = await lockFolders([process.argv[1]], (await openSystemCalls()).lockFile);
  const { spawn } = await import('node:child_process');
  const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
  console.log(child.pid);
  setInterval(() => {}, 1000);`;

test.each([
  ['its own', []],
  ['another network namespace', ['unshare', '--net']],
])('a process of %s holds it until it is killed, not for as long as its children live', async (_, prefix) => {
  const words = [...prefix, process.execPath, '--input-type=module', '--eval', HOLDER, dir];
  const holder = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(holder, 'exit');
  const [child] = await once(holder.stdout, 'data');
  try {
    await expect(lockFolders([dir])).rejects.toThrow('another xlsnapd uses the folder');
    holder.kill('SIGKILL');
    await ended;
    await using _lock = await lockFolders([dir]);
  } finally {
    holder.kill('SIGKILL');
    process.kill(Number(child));
  }
});
