import { mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readChain } from '../../../src/disks/chain/chains.ts';
import { OfflineImages } from '../../../src/disks/offline-snapshots.ts';
import { runProgram } from '../../../src/disks/program.ts';
import { createQcow2Image } from '../../../src/disks/qemu/qcow2.ts';
import { INCOMPATIBLE } from '../../../src/disks/qemu/qcow2-header.ts';
import { isQcow2Image } from '../../../src/disks/qemu/qcow2-table.ts';
import { StorageDaemon } from '../../../src/hosts/embedded/storage-daemon.ts';
import type { DiskImage } from '../../../src/model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { overlay } from '../../support/disks/device-model.ts';
import { snapshotsIn } from '../../support/disks/images.ts';
import { twoImages } from '../../support/disks/two-images.ts';
import {
  checkImage,
  disk,
  hasPattern,
  newImage,
  qemuImg,
  scratchFolder,
  writePattern,
} from '../../support/hosts/embedded.ts';

const images = new OfflineImages();
/** Paths and formats, from the top. */
const chainOf = async (image: DiskImage) =>
  (await readChain(image)).layers.map(({ path, format }) => ({ path, format }));
const NONE: ReadonlySet<string> = new Set();

describe('creating', () => {
  test('a snapshot of each image, which holds what was in it', async () => {
    await using two = await twoImages();
    const { a, b, disks } = two;
    for (const image of [a, b]) await writePattern(image, 'qcow2', 0x11);
    await images.create('s1', disks, NONE);
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
    await images.create('s1', disks.slice(1), NONE);
    await expect(images.create('s1', disks, NONE)).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      detail: `disk 'xvdb' already has an internal snapshot 's1' in '${b}': choose another name`,
    });
    expect(await snapshotsIn(a)).toEqual([]);
  });

  test('what was made before a failure is deleted again', async () => {
    await using two = await twoImages();
    const { a, b, disks, folder } = two;
    await using _daemon = await StorageDaemon.start(folder, 1, [disk('xvdb', b).disk]);
    await expect(images.create('s1', disks, NONE)).rejects.toThrow(
      /cannot create internal snapshot 's1' of disk 'xvdb' in '.*-b.qcow2': .*Failed to get "write" lock/,
    );
    expect(await snapshotsIn(a)).toEqual([]);
    await checkImage(a);
  });

  test('a raw disk is refused with code 67, and so is one without an image', async () => {
    await expect(images.create('s1', [disk('xvda', '/x.raw', 'raw')], NONE)).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: 'internal snapshot for disk xvda unsupported for storage type raw',
    });
    await expect(images.create('s1', [{ disk: { vdev: 'xvda', format: 'qcow2' } }], NONE)).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: "disk 'xvda' has no image",
    });
  });

  test('a raw image is not taken for qcow2 whatever it is called', async () => {
    await using folder = await scratchFolder();
    const path = join(folder.path, 'a.qcow2');
    await qemuImg('create', '-q', '-f', 'raw', path, '1M');
    await expect(images.create('s1', [disk('xvda', path)], NONE)).rejects.toThrow(
      /cannot read image '.*a.qcow2' of disk 'xvda': .*not in qcow2 format/,
    );
  });
});

describe('a revert of two images that was cut off', () => {
  /** `kept`: the images that have what they held before; the first one is reverted already. */
  async function cutOff(...kept: readonly ('a' | 'b')[]) {
    const two = await twoImages();
    for (const path of [two.a, two.b]) await writePattern(path, 'qcow2', 0x11);
    await images.create('s1', two.disks, NONE);
    for (const path of [two.a, two.b]) await writePattern(path, 'qcow2', 0x22);
    for (const each of kept) await qemuImg('snapshot', '-c', '.xlsnap-before-revert', two[each]);
    await qemuImg('snapshot', '-a', 's1', two.a);
    return two;
  }

  test('is undone: both hold again what they held before', async () => {
    await using two = await cutOff('a', 'b');
    expect(await images.settleApply('s1', two.disks)).toBe('undone');
    for (const path of [two.a, two.b]) {
      expect(await hasPattern(path, 'qcow2', 0x22)).toBe(true);
      expect(await snapshotsIn(path)).toEqual(['s1']);
    }
  });

  test.each(['a', 'b'] as const)('is left as it is if only %s has kept that, which is forgotten', async (kept) => {
    await using two = await cutOff(kept);
    expect(await images.settleApply('s1', two.disks)).toBeUndefined();
    expect(await hasPattern(two.a, 'qcow2', 0x11)).toBe(true);
    for (const path of [two.a, two.b]) expect(await snapshotsIn(path)).toEqual(['s1']);
  });
});

describe('reverting', () => {
  test('can be repeated', async () => {
    await using two = await twoImages();
    await writePattern(two.a, 'qcow2', 0x11);
    await images.create('s1', two.disks, NONE);
    await images.apply('s1', two.disks);
    await images.apply('s1', two.disks);
    expect(await hasPattern(two.a, 'qcow2', 0x11)).toBe(true);
    expect(await snapshotsIn(two.a)).toEqual(['s1']);
  });

  test('goes to the snapshot of this name, not to the one of this id', async () => {
    await using two = await twoImages();
    const disks = two.disks.slice(0, 1);
    await writePattern(two.a, 'qcow2', 0x11);
    await images.create('2', disks, NONE); // id 1
    await writePattern(two.a, 'qcow2', 0x22);
    await images.create('other', disks, NONE); // id 2
    await images.apply('2', disks);
    expect(await hasPattern(two.a, 'qcow2', 0x11)).toBe(true);
    await images.delete('2', disks);
    expect(await snapshotsIn(two.a)).toEqual(['other']);
  });

  test.each(['-x', '--help', 'a b', "it's", '$(id)', 'ü,driver=raw'])('the name %j is only a name', async (name) => {
    await using two = await twoImages();
    const disks = two.disks.slice(0, 1);
    await images.create(name, disks, NONE);
    expect(await snapshotsIn(two.a)).toEqual([name]);
    await images.check(name, disks, new Set());
    await images.apply(name, disks);
    await images.delete(name, disks);
    expect(await snapshotsIn(two.a)).toEqual([]);
  });
});

test('deleting twice is fine, and leaves clean images', async () => {
  await using two = await twoImages();
  await images.create('s1', two.disks, NONE);
  await images.delete('s1', two.disks);
  await images.delete('s1', two.disks);
  expect(await snapshotsIn(two.a)).toEqual([]);
  await checkImage(two.a);
  await checkImage(two.b);
});

test('a delete that fails in the second image names the first one, and can be repeated', async () => {
  await using two = await twoImages();
  await images.create('s1', two.disks, NONE);
  {
    await using _daemon = await StorageDaemon.start(two.folder, 1, [disk('xvdb', two.b).disk]);
    await expect(images.delete('s1', two.disks)).rejects.toMatchObject({
      detail: expect.stringMatching(
        /^cannot delete internal snapshot 's1' of disk 'xvdb'.* \(it is deleted from disk 'xvda' already\)$/s,
      ),
      reason: 'done-in-part',
    });
    expect([await snapshotsIn(two.a), await snapshotsIn(two.b)]).toEqual([[], ['s1']]);
  }
  await images.delete('s1', two.disks);
  expect(await snapshotsIn(two.b)).toEqual([]);
});

test('a delete that fails in the first image has changed nothing', async () => {
  await using two = await twoImages();
  await images.create('s1', two.disks, NONE);
  await using _daemon = await StorageDaemon.start(two.folder, 1, [disk('xvda', two.a).disk]);
  await expect(images.delete('s1', two.disks)).rejects.not.toMatchObject({ reason: 'done-in-part' });
  expect([await snapshotsIn(two.a), await snapshotsIn(two.b)]).toEqual([['s1'], ['s1']]);
});

test('checking refuses with code 55 what reverting would need, naming disk and file, and reads images that the domain has open', async () => {
  await using two = await twoImages();
  const { a, b, disks, folder } = two;
  await images.create('s1', disks, NONE);
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
  await images.create('s1', disks, NONE);
  await using _writer = await StorageDaemon.start(folder, 1, [disk('xvdb', b).disk]);
  await expect(images.check('s1', disks, new Set([a]))).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringContaining(b),
  });
  await images.check('s1', disks, new Set([a, b]));
});

const qcow2 = (path: string) => ({ path, format: 'qcow2' });

/** The bit in the header by which QEMU marks an image that it has found to be damaged. */
async function markCorrupt(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  const features = Buffer.alloc(1);
  await file.read(features, 0, 1, 79);
  await file.write(Buffer.of((features[0] ?? 0) | Number(INCOMPATIBLE.corrupt)), 0, 1, 79);
}

describe('a delete of internal snapshots is refused, naming disk and file,', () => {
  const doomed = (disks: readonly LibxlDiskSnapshot[], ...names: readonly string[]) =>
    disks.flatMap(({ disk }) => names.map((name) => ({ disk, name })));

  test('if somebody else writes to an image, unless the domain itself does; what is gone needs nothing', async () => {
    await using two = await twoImages();
    const { b, disks } = two;
    await images.create('s1', disks, NONE);
    await using _writer = await StorageDaemon.start(two.folder, 1, [disk('xvdb', b).disk]);
    await expect(images.checkDelete(doomed(disks, 's1', 's2'), NONE)).rejects.toThrow(
      `cannot delete snapshots of disk 'xvdb'`,
    );
    await images.checkDelete(doomed(disks, 's1'), new Set([b]));
    await images.checkDelete(doomed(disks, 's2'), NONE);
  });

  test('if an image of the backing chain is gone: qemu-img opens all of it', async () => {
    await using two = await twoImages();
    const { b, disks, folder } = two;
    const top = join(folder, 'top');
    await qemuImg('create', '-q', '-f', 'qcow2', '-b', b, '-F', 'qcow2', top);
    const onTop = [...disks.slice(0, 1), disk('xvdb', top)];
    await images.create('s1', onTop, NONE);
    await images.checkDelete(doomed(onTop, 's1'), NONE);
    await rm(b);
    await expect(images.checkDelete(doomed(onTop, 's1'), NONE)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: expect.stringMatching(`^cannot delete snapshots of disk 'xvdb': .*'${b}'`),
    });
  });

  test('if QEMU would not open an image for changes', async () => {
    await using two = await twoImages();
    const { b, disks } = two;
    await images.create('s1', disks, NONE);
    await markCorrupt(b);
    await expect(images.checkDelete(doomed(disks, 's1'), NONE)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: `disk 'xvdb': image '${b}' is marked as corrupt; to repair it while no guest uses it: qemu-img check -r all ${b}`,
    });
  });
});

test('an overlay is neither removed nor put on another base while somebody else has it open; a missing one is gone', async () => {
  await using two = await twoImages();
  const imageAt = (path: string): DiskImage => ({ path, format: 'qcow2' });
  const [a, b] = [imageAt(two.a), imageAt(two.b)];
  const missing = imageAt(`${two.a}.gone`);
  await images.checkRebase([a, b], NONE);
  await images.checkRemoval([a, b, missing], NONE);
  await using _writer = await StorageDaemon.start(two.folder, 1, [disk('xvdb', two.b).disk]);
  await expect(images.checkRebase([a, b], NONE)).rejects.toThrow(`cannot change the backing image of '${two.b}'`);
  await images.checkRebase([a, b], new Set([two.b]));
  await expect(images.checkRemoval([a, b], NONE)).rejects.toThrow(`cannot remove image '${two.b}'`);
  // The domain's own device model will have closed it by then.
  await images.checkRemoval([a, b], new Set([two.b]));
});

test('no overlay is merged if one of them is marked as corrupt, which is asked before', async () => {
  await using two = await twoImages();
  const { a, b, disks, folder } = two;
  const [first, second] = [join(folder, 'a.ov'), join(folder, 'b.ov')];
  const [xvda, xvdb] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
  await images.create('s1', [overlay(xvda, first), overlay(xvdb, second)], NONE);
  const image = (path: string): DiskImage => ({ path, format: 'qcow2' });
  const layers = [
    { disk: 'xvda', top: image(first), base: image(a) },
    { disk: 'xvdb', top: image(second), base: image(b) },
  ];
  await images.checkMerge(layers, NONE);
  await markCorrupt(second);
  await expect(images.checkMerge(layers, NONE)).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringContaining(`: image '${second}' is marked as corrupt; to repair it`),
  });
});

test('a folder in an overlay’s place is not removed, which is asked before', async () => {
  await using two = await twoImages();
  const path = join(two.folder, 'a.ov');
  await mkdir(path);
  await expect(images.checkRemoval([{ path, format: 'qcow2' }], NONE)).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: `cannot remove image '${path}': it is a folder; to move it away: mv ${path} ${path}.folder`,
  });
});

describe('overlays', () => {
  test('are made beside internal snapshots, over qcow2 and raw, and hold nothing', async () => {
    await using two = await twoImages();
    const { a, b, disks, folder } = two;
    const raw = join(folder, 'c.raw');
    await qemuImg('create', '-q', '-f', 'raw', raw, '8M');
    const [b1, c1] = [join(folder, 'b.ov'), join(folder, 'c.ov')];
    const [xvda, xvdb] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
    await writePattern(b, 'qcow2', 0x11);
    await images.create('s1', [xvda, overlay(xvdb, b1), overlay(disk('xvdc', raw, 'raw'), c1)], NONE);
    expect(await snapshotsIn(a)).toEqual(['s1']);
    expect(await hasPattern(b1, 'qcow2', 0x11)).toBe(true);
    expect((await stat(b1)).mode).toBe((await stat(b)).mode);
    expect(await chainOf(qcow2(b1))).toEqual([qcow2(b1), qcow2(b)]);
    expect(await chainOf(qcow2(c1))).toEqual([qcow2(c1), { path: raw, format: 'raw' }]);
    for (const image of [a, b1, c1]) await checkImage(image);
  });

  test('that were made before a failure of another kind are taken away again', async () => {
    await using two = await twoImages();
    const { a, b, disks, folder } = two;
    const [xvda, xvdb] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
    await using _daemon = await StorageDaemon.start(folder, 1, [xvdb.disk]);
    await expect(images.create('s1', [overlay(xvda, join(folder, 'a.ov')), xvdb], NONE)).rejects.toThrow(
      '"write" lock',
    );
    expect(await readdir(folder)).not.toContain('a.ov');
    expect(await snapshotsIn(a)).toEqual([]);
    expect(await snapshotsIn(b)).toEqual([]);
  });

  test('are not put above an image that a device model writes to, but the domain’s own', async () => {
    await using two = await twoImages();
    const { disks, folder } = two;
    const [xvda] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
    await using _daemon = await StorageDaemon.start(folder, 1, [xvda.disk]);
    await expect(images.create('s1', [overlay(xvda, join(folder, 'a.ov'))], NONE)).rejects.toThrow('lock');
    expect(await readdir(folder)).not.toContain('a.ov');
    await images.create('s1', [overlay(xvda, join(folder, 'a.ov'))], new Set([two.a]));
    expect(await chainOf(qcow2(join(folder, 'a.ov')))).toEqual([qcow2(join(folder, 'a.ov')), qcow2(two.a)]);
  });

  test('are refused in libvirt’s words where a file is in the way, or one to be reused is missing', async () => {
    await using two = await twoImages();
    const { a, b, disks } = two;
    const [xvda] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
    await expect(images.checkFree('s1', [overlay(xvda, b)])).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: `external snapshot file for disk xvda already exists and is not a block device: ${b}`,
    });
    const missing = join(two.folder, 'missing');
    await expect(images.checkFree('s1', [overlay(xvda, missing, { external_reuse: true })])).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      detail: `missing existing file for disk xvda: ${missing}: No such file or directory`,
    });
    expect(await chainOf(qcow2(a))).toEqual([qcow2(a)]);
  });

  test('that nothing needs are removed; a missing one is no error', async () => {
    await using two = await twoImages();
    const path = join(two.folder, 'a.ov');
    await images.create('s1', [overlay(two.disks[0] as LibxlDiskSnapshot, path)], NONE);
    await images.remove([qcow2(path)]);
    await images.remove([qcow2(path)]);
    expect(await readdir(two.folder)).not.toContain('a.ov');
  });

  test('are removed also beside one that cannot be', async () => {
    await using two = await twoImages();
    await using _daemon = await StorageDaemon.start(two.folder, 1, [disk('xvda', two.a).disk]);
    await expect(images.remove([qcow2(two.a), qcow2(two.b)])).rejects.toThrow(`cannot remove image '${two.a}': `);
    expect(await readdir(two.folder)).not.toContain('-b.qcow2');
  });

  test('that a device model has open are not removed', async () => {
    await using two = await twoImages();
    await using _daemon = await StorageDaemon.start(two.folder, 1, [disk('xvda', two.a).disk]);
    await expect(images.remove([qcow2(two.a)])).rejects.toThrow(`cannot remove image '${two.a}': `);
    expect(await readdir(two.folder)).toContain('a, with comma.qcow2');
  });

  test('checking refuses with code 55 a base image that is missing, or used by somebody else', async () => {
    await using two = await twoImages();
    const { a, disks, folder } = two;
    const [xvda] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
    const [first, second] = [join(folder, '1'), join(folder, '2')];
    await images.create('s1', [overlay(xvda, first)], NONE);
    const onFirst = overlay(disk('xvda', first), second);
    await images.check('s1', [onFirst], new Set());
    {
      await using _daemon = await StorageDaemon.start(folder, 1, [disk('xvda', first).disk]);
      await images.check('s1', [onFirst], new Set([first]));
      await expect(images.check('s1', [onFirst], new Set())).rejects.toMatchObject({
        code: 'OPERATION_INVALID',
        detail: expect.stringMatching(`^image '${first}' of disk 'xvda' cannot be used: .*lock`),
      });
    }
    await rm(a);
    await expect(images.check('s1', [onFirst], new Set())).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: expect.stringMatching(`^image '${first}' of disk 'xvda' cannot be used: .*No such file or directory`),
    });
  });
});
