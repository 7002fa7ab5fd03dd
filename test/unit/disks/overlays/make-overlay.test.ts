import { chmod, chown, lstat, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { EmptyOverlay } from '../../../../src/disks/overlays/empty-overlay.ts';
import { createOverlay, makeOverlay, removeOverlay } from '../../../../src/disks/overlays/make-overlay.ts';
import { newImage, scratchFolder } from '../../../support/hosts/embedded.ts';

const [UID, GID] = [4321, 1234];

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let base: string;
const at = (name: string) => join(folder.path, name);
const image = (path: string) => ({ path, format: 'qcow2' });
const overlay = (path: string) => ({ disk: 'xvda', ...image(path), reuse: false });
const makeAbove = async (path: string, below: string) => {
  await using _made = await makeOverlay(overlay(path), { ...image(below), bytes: 1 << 20 });
};
const make = (path: string) => makeAbove(path, base);
/** Owner, group and mode. */
const access = async (path: string) => {
  const { uid, gid, mode } = await stat(path);
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
};

beforeEach(async () => {
  folder = await scratchFolder();
  base = await newImage(at('base'));
});
afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

describe('case 16: a new overlay can be opened by those who can open its base', () => {
  test.each([
    [0o600, '600'],
    [0o640, '640'],
    [0o666, '666'],
    [0o440, '640'],
    [0o4755, '755'],
  ])('owner and group; mode %o gives %s', async (mode, given) => {
    await chown(base, UID, GID);
    await chmod(base, mode);
    await make(at('overlay'));
    expect(await access(at('overlay'))).toBe(`${UID}:${GID} ${given}`);
  });

  test('in a folder where anyone may make files, too', async () => {
    await chmod(folder.path, 0o1777);
    await chown(base, UID, GID);
    await make(at('overlay'));
    expect((await stat(at('overlay'))).uid).toBe(UID);
  });

  test('of a base that is named by a link, the file counts', async () => {
    await chown(base, UID, GID);
    await symlink(base, at('link'));
    await makeAbove(at('overlay'), at('link'));
    expect((await stat(at('overlay'))).uid).toBe(UID);
  });

  test('one that takes the place of a merged overlay is like that one', async () => {
    await make(at('top'));
    await chown(at('top'), UID, GID);
    await chmod(at('top'), 0o660);
    await using empty = await EmptyOverlay.prepare({ disk: 'xvda', top: image(at('top')), base: image(base) });
    await empty.takePlace();
    expect(await access(at('top'))).toBe(`${UID}:${GID} 660`);
  });
});

describe('in a folder of another user', () => {
  const NOBODY = 65_534;
  beforeEach(async () => await chown(folder.path, NOBODY, NOBODY));

  test('a link in the place of the overlay is not followed, and stays', async () => {
    await writeFile(at('root’s'), '', { mode: 0o600 });
    await symlink(at('root’s'), at('overlay'));
    await expect(make(at('overlay'))).rejects.toThrow(
      `'${at('overlay')}' is a symbolic link in a folder that others than root can change: name the file that it leads to`,
    );
    expect((await stat(at('root’s'))).size).toBe(0);
    expect((await lstat(at('overlay'))).isSymbolicLink()).toBe(true);
  });

  test('what has taken the overlay’s place stays if the overlay is undone', async () => {
    const created = await createOverlay(overlay(at('overlay')), { ...image(base), bytes: 1 << 20 });
    await rename(at('overlay'), at('away'));
    await writeFile(at('overlay'), 'precious');
    await removeOverlay(created);
    expect((await readdir(folder.path)).sort()).toEqual(['away', 'base', 'overlay']);
    await rename(at('away'), at('overlay'));
    await removeOverlay(created);
    expect(await readdir(folder.path)).toEqual(['base']);
  });
});

test('in a folder of root’s a link is followed to an empty file, which keeps its owner', async () => {
  await chown(base, UID, GID);
  await writeFile(at('root’s'), '', { mode: 0o600 });
  await symlink(at('root’s'), at('overlay'));
  const before = await access(at('root’s'));
  await make(at('overlay'));
  expect(await access(at('root’s'))).toBe(before);
  expect((await lstat(at('overlay'))).isSymbolicLink()).toBe(true);
});

test('a file that was empty when it was checked, and has data by now, is not overwritten', async () => {
  await writeFile(at('overlay'), 'data of somebody');
  await expect(make(at('overlay'))).rejects.toMatchObject({
    code: 'CONFIG_UNSUPPORTED',
    detail: `cannot create external snapshot '${at('overlay')}' of disk 'xvda': it is not empty`,
  });
  expect(await readFile(at('overlay'), 'utf8')).toBe('data of somebody');
});

test('if it cannot have them, nothing is left of it', async () => {
  base = at('missing');
  await expect(make(at('overlay'))).rejects.toThrow(
    `cannot create external snapshot '${at('overlay')}' of disk 'xvda': it cannot have the owner and mode of '${base}'`,
  );
  expect(await readdir(folder.path)).toEqual(['base']);
});
