import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { SaveFiles } from '../../../../src/store/records/save-files.ts';

const SAVE = {
  domain: { name: 'vm', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 7 },
  path: '/saved',
  managed: false,
  moves: [{ disk: 'xvda', from: { path: '/d/a', format: 'raw' }, to: { path: '/d/a.s1', format: 'qcow2' } }],
};

let dir: string;
const logged: string[] = [];
const files = () => new SaveFiles(dir, (text) => logged.push(text));
const file = () => join(dir, 'saves', `${SAVE.domain.uuid}.json`);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'save-files-'));
  logged.length = 0;
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('a save is known to the next daemon until it is removed', async () => {
  expect(await files().load()).toEqual([]);
  await files().write(SAVE);
  expect(await files().load()).toEqual([{ ...SAVE, sameBoot: true }]);
  await files().remove(SAVE.domain);
  expect(await files().load()).toEqual([]);
  expect([await readdir(join(dir, 'saves')), logged]).toEqual([[], []]);
});

test('one from before the host was started again says so', async () => {
  await files().write(SAVE);
  await writeFile(file(), (await readFile(file(), 'utf8')).replace(/"boot":"/, '"boot":"0'));
  expect(await files().load()).toEqual([{ ...SAVE, sameBoot: false }]);
});

test.each([
  ['is cut off', '{'],
  ['has no path', JSON.stringify({ ...SAVE, path: undefined })],
  ['has a path that is not absolute', JSON.stringify({ ...SAVE, path: 'saved' })],
  ['has no domain id', JSON.stringify({ ...SAVE, domain: { ...SAVE.domain, id: '7' } })],
  ['does not say whether it is managed', JSON.stringify({ ...SAVE, managed: undefined })],
  ['has no disk', JSON.stringify({ ...SAVE, moves: [{ ...SAVE.moves[0], disk: undefined }] })],
  ['has no image before', JSON.stringify({ ...SAVE, moves: [{ ...SAVE.moves[0], from: { path: '/d/a' } }] })],
  ['has no image after', JSON.stringify({ ...SAVE, moves: [{ ...SAVE.moves[0], to: { format: 'raw' } }] })],
  ['has no images', JSON.stringify({ ...SAVE, moves: [{ disk: 'xvda', from: {}, to: {} }] })],
])('a record that %s is logged and left', async (_, text) => {
  await files().write(SAVE);
  await writeFile(file(), text);
  expect(await files().load()).toEqual([]);
  expect(logged).toEqual([expect.stringContaining(`'${file()}' is not a record of a save`)]);
  const again = files().write(SAVE);
  await expect(again).rejects.toThrow('is not a record of a save that this xlsnap can read');
  await expect(again).rejects.toThrow("until then domain 'vm' is not saved");
  expect(await readFile(file(), 'utf8')).toBe(text);
});

test('a record of another domain is logged and left', async () => {
  await files().write(SAVE);
  const other = file().replace('6695', '7695');
  await rename(file(), other);
  expect(await files().load()).toEqual([]);
  expect(logged).toEqual([expect.stringContaining(`'${other}' is a record of a save of another domain`)]);
});

test('a link in place of the folder is refused: it may lead to records of somebody else', async () => {
  await mkdir(join(dir, 'elsewhere'));
  await symlink('elsewhere', join(dir, 'saves'));
  await expect(files().load()).rejects.toThrow('is a link, not a folder');
  await expect(files().write(SAVE)).rejects.toThrow('is a link, not a folder');
  expect(await readdir(join(dir, 'elsewhere'))).toEqual([]);
});

test('a folder that cannot be read is refused: nobody knows which saves it holds', async () => {
  await writeFile(join(dir, 'saves'), '');
  await expect(files().load()).rejects.toThrow(`cannot read folder '${join(dir, 'saves')}'`);
});
