import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ownFileAt } from '../../../src/snapshots/own-files.ts';
import { ownFiles } from '../../../src/store/default-folders.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

test('a path leads to a file of ours by whatever name, whether something is there or not', async () => {
  await using folder = await scratchFolder();
  const at = (...names: string[]) => join(folder.path, ...names);
  await mkdir(at('memory/uuid'), { recursive: true });
  await mkdir(at('images'));
  await writeFile(at('memory/uuid/s1.save'), '');
  await writeFile(at('lock'), '');
  await symlink(at('memory'), at('link'));
  await symlink(at('memory/uuid/s1.save'), at('images/s1'));
  await symlink(at('images'), at('memory/out'));
  const own = { ownFiles: [at('memory'), at('lock'), at('link/uuid/missing')] };
  for (const path of [
    ...['memory', 'memory/new', 'memory/uuid/s1.save', 'memory/missing/new', 'link/uuid/new'],
    ...['images/s1', 'images/../memory/new'],
  ]) {
    expect(await ownFileAt(own, at(path))).toBe(at('memory'));
  }
  expect(await ownFileAt(own, `${folder.path}//./lock`)).toBe(at('lock'));
  for (const path of ['memory2', 'lock.save', 'images/new', 'memory/out/new', 'memory/../new', '..memory/new']) {
    expect(await ownFileAt(own, at(path))).toBeUndefined();
  }
});

test('the embedded host keeps its disks in the state folder: what is ours there is named', () => {
  expect(ownFiles({ snapshotDir: '/s', memoryDir: '/m', stateDir: '/x' })).toEqual([
    ...[
      '/s',
      '/m',
      '/x/journal',
      '/x/live-disks',
      '/x/block-jobs',
      '/x/protected',
      '/x/saves',
      '/x/managed-saves',
      '/x/.xlsnapd.lock',
    ],
  ]);
});
