import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MadeFile, removeSame } from '../../../src/files/made-file.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

const NOBODY = 65_534;

let folder: Awaited<ReturnType<typeof scratchFolder>>;
const at = (name: string) => join(folder.path, name);

beforeEach(async () => {
  folder = await scratchFolder();
});
afterEach(async () => await folder[Symbol.asyncDispose]());

describe('a file that was made', () => {
  test('is new: neither a file nor a link is written to', async () => {
    writeFileSync(at('precious'), 'precious');
    symlinkSync(at('nowhere'), at('link'));
    for (const name of ['precious', 'link']) {
      await expect(MadeFile.create(at(name))).rejects.toMatchObject({ code: 'EEXIST' });
    }
    expect(readdirSync(folder.path).sort()).toEqual(['link', 'precious']);
  });

  test('is not renamed if another has its place', async () => {
    await using file = await MadeFile.create(at('ram.partial'));
    renameSync(at('ram.partial'), at('away'));
    writeFileSync(at('ram.partial'), 'another');
    await expect(file.rename(at('ram'))).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      detail: expect.stringContaining(`'${at('ram.partial')}' was replaced while it was being written`),
    });
    expect(readdirSync(folder.path).sort()).toEqual(['away', 'ram.partial']);
  });

  test('is renamed in its folder, whatever the folder’s name leads to by now', async () => {
    mkdirSync(at('users'));
    mkdirSync(at('root’s'));
    await using file = await MadeFile.create(at('users/ram.partial'));
    renameSync(at('users'), at('moved'));
    symlinkSync(at('root’s'), at('users'));
    writeFileSync(at('root’s/ram.partial'), 'precious');
    await file.rename(at('users/ram'));
    expect(readdirSync(at('moved'))).toEqual(['ram']);
    await removeSame(file.at);
    expect(readdirSync(at('root’s'))).toEqual(['ram.partial']);
  });

  test('is removed, and nothing else', async () => {
    await using file = await MadeFile.create(at('overlay'));
    renameSync(at('overlay'), at('away'));
    symlinkSync(at('away'), at('overlay'));
    await removeSame(file.at);
    expect(lstatSync(at('overlay')).isSymbolicLink()).toBe(true);
    renameSync(at('away'), at('overlay'));
    await removeSame(file.at);
    await removeSame(file.at);
    await removeSame({ ...file.at, path: at('missing/overlay') });
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

describe('of a file that exists, a link', () => {
  beforeEach(() => {
    writeFileSync(at('target'), 'target');
    symlinkSync(at('target'), at('link'));
  });

  test('is followed in a folder that root alone can change', async () => {
    await using file = await MadeFile.existing(at('link'));
    expect(await file.handle.readFile('utf8')).toBe('target');
  });

  test.each([
    ['is another user’s', () => chown(folder.path, NOBODY, NOBODY)],
    ['a group may change', () => chmod(folder.path, 0o770)],
    ['everybody may change', () => chmod(folder.path, 0o1777)],
  ])('is refused in a folder that %s', async (_, change) => {
    await change();
    await expect(MadeFile.existing(at('link'))).rejects.toMatchObject({
      detail: expect.stringContaining(
        `'${at('link')}' is a symbolic link in a folder that others than root can change`,
      ),
    });
    await using file = await MadeFile.existing(at('target'));
    await file.handle.truncate();
    expect(readFileSync(at('target'), 'utf8')).toBe('');
  });
});
