import { chmod, chown, lstat, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { EmptyOverlay } from '../../../../src/disks/overlays/empty-overlay.ts';
import { makeOverlay } from '../../../../src/disks/overlays/overlays.ts';
import { newImage, scratchFolder } from '../../../support/hosts/embedded.ts';

const [UID, GID] = [4321, 1234];

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let base: string;
const at = (name: string) => join(folder.path, name);
const image = (path: string) => ({ path, format: 'qcow2' });
const overlay = (path: string) => ({ disk: 'xvda', ...image(path), reuse: false });
const make = (path: string) => makeOverlay(overlay(path), { ...image(base), bytes: 1 << 20 });
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

describe('a new overlay can be opened by those who can open its base', () => {
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
    await makeOverlay(overlay(at('overlay')), { ...image(at('link')), bytes: 1 << 20 });
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

test('a file that exists keeps its owner: the link of a stranger gives nobody the file that it leads to', async () => {
  await chown(base, UID, GID);
  await writeFile(at('root’s'), '', { mode: 0o600 });
  await symlink(at('root’s'), at('overlay'));
  const before = await access(at('root’s'));
  await make(at('overlay'));
  expect(await access(at('root’s'))).toBe(before);
  expect((await lstat(at('overlay'))).isSymbolicLink()).toBe(true);
});

test('if it cannot have them, nothing is left of it', async () => {
  base = at('missing');
  await expect(make(at('overlay'))).rejects.toThrow(
    `cannot create external snapshot '${at('overlay')}' of disk 'xvda': it cannot have the owner and mode of '${base}'`,
  );
  expect(await readdir(folder.path)).toEqual(['base']);
});
