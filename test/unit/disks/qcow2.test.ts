import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { runProgram } from '../../../src/disks/program.ts';
import { createQcow2Image, isQcow2Image, Qcow2Images } from '../../../src/disks/qcow2.ts';
import { StorageDaemon } from '../../../src/hosts/test-storage-daemon.ts';
import { snapshotsIn } from '../../support/images.ts';
import { checkImage, disk, hasPattern, newImage, qemuImg, scratchFolder, writePattern } from '../hosts/embedded.ts';

const images = new Qcow2Images();

async function twoImages() {
  const folder = await scratchFolder();
  const a = await newImage(join(folder.path, 'a, with comma.qcow2'));
  const b = await newImage(join(folder.path, '-b.qcow2'));
  const close = () => folder[Symbol.asyncDispose]();
  return { a, b, disks: [disk('xvda', a), disk('xvdb', b)], folder: folder.path, [Symbol.asyncDispose]: close };
}

describe('creating', () => {
  test('a snapshot of each image, which holds what was in it', async () => {
    await using two = await twoImages();
    const { a, b, disks } = two;
    for (const image of [a, b]) await writePattern(image, 'qcow2', 0x11);
    await images.create('s1', disks);
    for (const image of [a, b]) {
      await writePattern(image, 'qcow2', 0x22);
      expect(await snapshotsIn(image)).toEqual(['s1']);
    }
    await images.apply('s1', disks);
    for (const image of [a, b]) {
      expect(await hasPattern(image, 'qcow2', 0x11)).toBe(true);
      await checkImage(image);
    }
  });

  test('a name that one image has already is refused before any image is touched', async () => {
    await using two = await twoImages();
    const { a, b, disks } = two;
    await images.create('s1', disks.slice(1));
    await expect(images.create('s1', disks)).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      detail: `disk 'xvdb' already has an internal snapshot 's1' in '${b}': choose another name`,
    });
    expect(await snapshotsIn(a)).toEqual([]);
  });

  test('what was made before a failure is deleted again', async () => {
    await using two = await twoImages();
    const { a, b, disks, folder } = two;
    await using _daemon = await StorageDaemon.start(folder, 1, [disk('xvdb', b).disk]);
    await expect(images.create('s1', disks)).rejects.toThrow(
      /cannot create internal snapshot 's1' of disk 'xvdb' in '.*-b.qcow2': .*Failed to get "write" lock/,
    );
    expect(await snapshotsIn(a)).toEqual([]);
    await checkImage(a);
  });

  test('a raw disk is refused with code 67, and so is one without an image', async () => {
    await expect(images.create('s1', [disk('xvda', '/x.raw', 'raw')])).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: 'internal snapshot for disk xvda unsupported for storage type raw',
    });
    await expect(images.create('s1', [{ disk: { vdev: 'xvda', format: 'qcow2' } }])).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: "disk 'xvda' has no image",
    });
  });

  test('a raw image is not taken for qcow2 whatever it is called', async () => {
    await using folder = await scratchFolder();
    const path = join(folder.path, 'a.qcow2');
    await qemuImg('create', '-q', '-f', 'raw', path, '1M');
    await expect(images.create('s1', [disk('xvda', path)])).rejects.toThrow(
      /cannot read image '.*a.qcow2' of disk 'xvda': .*not in qcow2 format/,
    );
  });
});

describe('reverting', () => {
  test('can be repeated', async () => {
    await using two = await twoImages();
    await writePattern(two.a, 'qcow2', 0x11);
    await images.create('s1', two.disks);
    await images.apply('s1', two.disks);
    await images.apply('s1', two.disks);
    expect(await hasPattern(two.a, 'qcow2', 0x11)).toBe(true);
    expect(await snapshotsIn(two.a)).toEqual(['s1']);
  });

  test('goes to the snapshot of this name, not to the one of this id', async () => {
    await using two = await twoImages();
    const disks = two.disks.slice(0, 1);
    await writePattern(two.a, 'qcow2', 0x11);
    await images.create('2', disks); // id 1
    await writePattern(two.a, 'qcow2', 0x22);
    await images.create('other', disks); // id 2
    await images.apply('2', disks);
    expect(await hasPattern(two.a, 'qcow2', 0x11)).toBe(true);
    await images.delete('2', disks);
    expect(await snapshotsIn(two.a)).toEqual(['other']);
  });

  test.each(['-x', '--help', 'a b', "it's", '$(id)', 'ü,driver=raw'])('the name %j is only a name', async (name) => {
    await using two = await twoImages();
    const disks = two.disks.slice(0, 1);
    await images.create(name, disks);
    expect(await snapshotsIn(two.a)).toEqual([name]);
    await images.check(name, disks, new Set());
    await images.apply(name, disks);
    await images.delete(name, disks);
    expect(await snapshotsIn(two.a)).toEqual([]);
  });
});

test('deleting twice is fine, and leaves clean images', async () => {
  await using two = await twoImages();
  await images.create('s1', two.disks);
  await images.delete('s1', two.disks);
  await images.delete('s1', two.disks);
  expect(await snapshotsIn(two.a)).toEqual([]);
  await checkImage(two.a);
  await checkImage(two.b);
});

test('checking refuses with code 55 what reverting would need, naming disk and file, and reads images that the domain has open', async () => {
  await using two = await twoImages();
  const { a, b, disks, folder } = two;
  await images.create('s1', disks);
  await using _daemon = await StorageDaemon.start(
    folder,
    1,
    disks.map((each) => each.disk),
  );
  const open = new Set([a, b]);
  await images.check('s1', disks, open);
  await expect(images.check('s2', disks, open)).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: `image '${a}' of disk 'xvda' has no internal snapshot 's2'`,
  });
  await rm(b);
  await expect(images.check('s1', disks, open)).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringMatching(/^cannot read image '.*-b.qcow2' of disk 'xvdb': .*No such file or directory$/),
  });
});

test('a new image never replaces a file', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'a.qcow2');
  await createQcow2Image(path, 1 << 20);
  await checkImage(path);
  await expect(createQcow2Image(path, 1 << 20)).rejects.toThrow(/file '.*a.qcow2'.*[Ff]ile (already )?exists/);
});

test('an image that cannot be made leaves no file', async () => {
  await using folder = await scratchFolder();
  await expect(createQcow2Image(join(folder.path, 'a.qcow2'), -1)).rejects.toThrow(
    /^operation failed: cannot create image '/,
  );
  expect(await readdir(folder.path)).toEqual([]);
});

test('an image is qcow2 by its contents, not by its name', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'a.qcow2');
  expect(await isQcow2Image(path)).toBe(false);
  await writeFile(path, Buffer.from('QFI\xfb', 'latin1'));
  expect(await isQcow2Image(path)).toBe(false);
  await writeFile(path, Buffer.from('QFI\xfb\0\0\0\x09', 'latin1'));
  expect(await isQcow2Image(path)).toBe(false);
  await rm(path);
  await newImage(path);
  expect(await isQcow2Image(path)).toBe(true);
});

test('a program that is not there is named with the package it comes in', async () => {
  const program = { name: 'no-such-program', debianPackage: 'such-utils' };
  await expect(runProgram(program, [], 'cannot do it')).rejects.toThrow(
    "operation failed: cannot do it: 'no-such-program' is not installed (Debian package such-utils)",
  );
});

test('an image that somebody else writes to is refused before a revert, unless the domain itself has it open', async () => {
  await using two = await twoImages();
  const { a, b, disks, folder } = two;
  await images.create('s1', disks);
  await using _writer = await StorageDaemon.start(folder, 1, [disk('xvdb', b).disk]);
  await expect(images.check('s1', disks, new Set([a]))).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringContaining(b),
  });
  await images.check('s1', disks, new Set([a, b]));
});
