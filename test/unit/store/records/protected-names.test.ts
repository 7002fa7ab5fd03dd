import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ProtectedFiles } from '../../../../src/store/records/protected-names.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

const REF = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: -1 };

test('names are known at once, to the next daemon, and under the domain’s next name; none leave no file', async () => {
  await using folder = await scratchFolder();
  const open = () => ProtectedFiles.open(folder.path, () => {});
  const first = await open();
  expect(first.of(REF)).toEqual(new Set());
  await first.set(REF, new Set(['s1', 's/2']));
  expect(first.of(REF)).toEqual(new Set(['s1', 's/2']));
  expect((await open()).of({ ...REF, name: 'renamed' })).toEqual(new Set(['s1', 's/2']));
  await first.set(REF, new Set());
  expect((await open()).of(REF)).toEqual(new Set());
  expect(await readdir(join(folder.path, 'protected'))).toEqual([]);
});

test.each([
  ['not JSON', 'damaged'],
  ['no list of names', '{"version":1,"names":"s1"}'],
  ['something else than names in the list', '{"version":1,"names":["s1",2]}'],
  ['a newer version', '{"version":2,"names":[]}'],
])('a record that cannot be read (%s) is reported, and refuses its domain alone', async (_, text) => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'protected', `${REF.uuid}.json`);
  await mkdir(join(folder.path, 'protected'));
  await writeFile(path, text);
  const logged: string[] = [];
  const files = await ProtectedFiles.open(folder.path, (line) => logged.push(line));
  expect(logged.join()).toContain(`'${path}'`);
  expect(() => files.of(REF)).toThrow(
    /^Requested operation is not valid: nobody knows which snapshots of domain 'g' are/,
  );
  expect(files.of({ ...REF, uuid: 'another' })).toEqual(new Set());
});

test('a link in place of the folder is refused: it may lead to records of somebody else', async () => {
  await using folder = await scratchFolder();
  await mkdir(join(folder.path, 'elsewhere'));
  await symlink('elsewhere', join(folder.path, 'protected'));
  await expect(ProtectedFiles.open(folder.path, () => {})).rejects.toThrow('is a link, not a folder');
});

test('nor is a link followed that has come since: nothing is written elsewhere, and nothing counts as protected', async () => {
  await using folder = await scratchFolder();
  const files = await ProtectedFiles.open(folder.path, () => {});
  await mkdir(join(folder.path, 'elsewhere'));
  await symlink('elsewhere', join(folder.path, 'protected'));
  await expect(files.set(REF, new Set(['s1']))).rejects.toThrow('is a link, not a folder');
  expect(await readdir(join(folder.path, 'elsewhere'))).toEqual([]);
  expect(files.of(REF)).toEqual(new Set());
});

test('what could not be written is not protected, and what could not be removed still is', async () => {
  await using folder = await scratchFolder();
  const files = await ProtectedFiles.open(folder.path, () => {});
  const record = join(folder.path, 'protected', `${REF.uuid}.json`);
  await mkdir(record, { recursive: true });
  await expect(files.set(REF, new Set(['s1']))).rejects.toThrow('cannot rename file');
  expect(files.of(REF)).toEqual(new Set());
  await rm(record, { recursive: true });
  await files.set(REF, new Set(['s1']));
  await rm(record);
  await mkdir(record);
  await expect(files.set(REF, new Set())).rejects.toThrow('cannot remove file');
  expect(files.of(REF)).toEqual(new Set(['s1']));
});

test('a folder that cannot be read is not taken for one without records, and a UUID does not lead out of it', async () => {
  await using folder = await scratchFolder();
  const files = await ProtectedFiles.open(folder.path, () => {});
  await expect(files.set({ ...REF, uuid: '../x' }, new Set(['s1']))).rejects.toMatchObject({ code: 'INVALID_ARG' });
  await writeFile(join(folder.path, 'protected'), '');
  await expect(ProtectedFiles.open(folder.path, () => {})).rejects.toThrow('cannot read folder');
});
