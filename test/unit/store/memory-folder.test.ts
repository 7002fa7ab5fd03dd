import { link, mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { MemoryFiles } from '../../../src/store/memory-folder.ts';

const domain = { name: 'g', uuid: '22222222-2222-3333-4444-777777777777', id: 3 };
let dir = '';
let images: MemoryFiles;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'xlsnap-memory-'));
  images = new MemoryFiles(join(dir, 'memory'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('an image lies under its domain’s UUID', () => {
  expect(images.path(domain, 's1')).toBe(join(dir, 'memory', domain.uuid, 's1.save'));
});

test.each(['../s', 'a/b', 'a\0b'])('the name %j does not leave the folder', async (name) => {
  expect(() => images.path(domain, name)).toThrow(expect.objectContaining({ code: 'INVALID_ARG' }));
  await expect(images.remove(domain, name)).rejects.toMatchObject({ code: 'INVALID_ARG' });
});

test('folders are the owner’s alone', async () => {
  await images.prepare(domain, 's1');
  for (const folder of [dirname(images.path(domain, 's1')), join(dir, 'memory')]) {
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  }
});

test('a file where the folder should be is an error with its name', async () => {
  await writeFile(join(dir, 'memory'), '');
  await expect(images.prepare(domain, 's1')).rejects.toThrow(
    `cannot create folder '${join(dir, 'memory', domain.uuid)}'`,
  );
});

test('removing takes the image, and the folder with the last one', async () => {
  await images.prepare(domain, 's1');
  for (const name of ['s1', 's2']) await writeFile(images.path(domain, name), '');
  await images.remove(domain, 's1');
  expect(await readdir(dirname(images.path(domain, 's1')))).toEqual(['s2.save']);
  await images.remove(domain, 's2');
  expect(await readdir(join(dir, 'memory'))).toEqual([]);
});

test('the space of a removed image is free, also where a device model has it open; one with another name is left whole', async () => {
  await images.prepare(domain, 's1');
  const path = images.path(domain, 's1');
  await writeFile(path, 'memory');
  await using held = await open(path, 'r');
  await images.remove(domain, 's1');
  expect(await held.stat()).toMatchObject({ size: 0, nlink: 0 });

  const [external, other] = [join(dir, 'external'), join(dir, 'other')];
  await writeFile(external, 'memory');
  await link(external, other);
  await images.removeFile(external);
  expect(await readdir(dir)).not.toContain('external');
  expect(await readFile(other, 'utf8')).toBe('memory');
});

test('an image that is gone already is no error', async () => {
  await expect(images.remove(domain, 's1')).resolves.toBeUndefined();
  await mkdir(dirname(images.path(domain, 's1')), { recursive: true });
  await expect(images.remove(domain, 's1')).resolves.toBeUndefined();
});

test('an image that is there already is not written over: its metadata may come back', async () => {
  await images.prepare(domain, 's1');
  await writeFile(images.path(domain, 's1'), 'RAM');
  await expect(images.prepare(domain, 's1')).rejects.toMatchObject({
    code: 'OPERATION_FAILED',
    message: expect.stringContaining(images.path(domain, 's1')),
  });
  await images.prepare(domain, 's2');
});

test('what an interrupted save has left goes with the image, and an empty folder with both', async () => {
  await images.prepare(domain, 's1');
  await writeFile(`${images.path(domain, 's1')}.partial`, 'half');
  await images.remove(domain, 's1');
  expect(await readdir(join(dir, 'memory'))).toEqual([]);
});

test('a folder that has come to nothing is tidied away, one with an image stays', async () => {
  await images.prepare(domain, 's1');
  await images.tidy(domain);
  expect(await readdir(join(dir, 'memory'))).toEqual([]);
  await images.prepare(domain, 's1');
  await writeFile(images.path(domain, 's1'), 'RAM');
  await images.tidy(domain);
  expect(await readdir(join(dir, 'memory', domain.uuid))).toEqual(['s1.save']);
});

test('a link in the place of an image is refused, and one that leads nowhere is no free name', async () => {
  await images.prepare(domain, 's1');
  const path = images.path(domain, 's1');
  await symlink(join(dir, 'nowhere'), path);
  await expect(images.prepare(domain, 's1')).rejects.toThrow(`memory image '${path}' already exists`);
  await expect(images.check(path)).rejects.toThrow(`memory image '${path}' is a link`);
});

test('nothing is removed through a folder that is a link', async () => {
  await mkdir(join(dir, 'elsewhere'), { recursive: true });
  await mkdir(join(dir, 'memory'));
  for (const file of ['s1.save', 's1.save.partial']) await writeFile(join(dir, 'elsewhere', file), '');
  await symlink(join(dir, 'elsewhere'), join(dir, 'memory', domain.uuid));
  await expect(images.remove(domain, 's1')).rejects.toThrow('is a link, not a folder');
  expect(await readdir(join(dir, 'elsewhere'))).toEqual(['s1.save', 's1.save.partial']);
});

test('so is a folder that is one; what lies elsewhere is its owner’s to choose', async () => {
  await mkdir(join(dir, 'elsewhere'), { recursive: true });
  await mkdir(join(dir, 'memory'));
  await writeFile(join(dir, 'elsewhere/s1.save'), '');
  await symlink(join(dir, 'elsewhere'), join(dir, 'memory', domain.uuid));
  await expect(images.check(images.path(domain, 's1'))).rejects.toThrow('is a link, not a folder');
  await symlink(join(dir, 'elsewhere/s1.save'), join(dir, 'mine.save'));
  await images.check(join(dir, 'mine.save'));
});
