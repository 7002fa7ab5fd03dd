import { execFile } from 'node:child_process';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { readChain } from '../../../../src/disks/chain/chains.ts';
import { OfflineImages } from '../../../../src/disks/offline-snapshots.ts';
import { StorageDaemon } from '../../../../src/hosts/embedded/storage-daemon.ts';
import type { DiskImage } from '../../../../src/model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import { overlay } from '../../../support/disks/device-model.ts';
import { snapshotsIn } from '../../../support/disks/images.ts';
import { removingLayers } from '../../../support/disks/removing-layers.ts';
import { twoImages } from '../../../support/disks/two-images.ts';
import { checkImage, disk, hasPattern, qemuImg, scratchFolder, writePattern } from '../../../support/hosts/embedded.ts';

const images = new OfflineImages();
/** Paths and formats, from the top. */
const chainOf = async (image: DiskImage) =>
  (await readChain(image)).layers.map(({ path, format }) => ({ path, format }));
const NONE: ReadonlySet<string> = new Set();
const { signal } = new AbortController();
const quiet = { signal, progress: () => {}, ...removingLayers };
const qcow2 = (path: string) => ({ path, format: 'qcow2' });

describe('merging layers', () => {
  /** Overlays `1` and `2` above `a`, each with a pattern of its own. */
  async function layered() {
    const two = await twoImages();
    const files = [two.a, join(two.folder, '1'), join(two.folder, '2')] as const;
    let at = two.disks[0] as LibxlDiskSnapshot;
    await writePattern(files[0], 'qcow2', 1);
    for (const path of files.slice(1)) {
      await images.create('s', [overlay(at, path)], NONE);
      at = disk('xvda', path);
      await writePattern(path, 'qcow2', files.indexOf(path) + 1);
    }
    const middle = { disk: 'xvda', top: qcow2(files[1]), base: qcow2(files[0]), above: qcow2(files[2]) };
    const last = { disk: 'xvda', top: qcow2(files[2]), base: qcow2(files[1]) };
    return { ...two, files, middle, last };
  }

  test('one in the middle: the header above is rewritten, the file goes', async () => {
    await using each = await layered();
    const [a, one, two] = each.files;
    const reports: { done: number; total: number }[] = [];
    await images.commit([each.middle], { ...quiet, progress: (report) => void reports.push(report) });
    expect(await readdir(each.folder)).not.toContain('1');
    expect(await chainOf(qcow2(two))).toEqual([qcow2(two), qcow2(a)]);
    expect(await hasPattern(a, 'qcow2', 2)).toBe(true);
    expect(await hasPattern(two, 'qcow2', 3)).toBe(true);
    for (const image of [a, two]) await checkImage(image);
    expect(reports.at(-1)?.done).toBe(reports.at(-1)?.total);
    expect(one).toBeDefined();
  });

  test('a pipe that takes the place of a data file after the checks does not keep it waiting', async () => {
    await using each = await layered();
    const [a, one] = each.files;
    const [data, base] = [join(each.folder, 'data'), join(each.folder, 'base.qcow2')];
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, base, '64M');
    await qemuImg('rebase', '-u', '-f', 'qcow2', '-b', base, '-F', 'qcow2', a);
    const real = (await promisify(execFile)('which', ['qemu-img'])).stdout.trim();
    const script = `[ "$1" != commit ] || { rm '${data}'; mkfifo '${data}'; }; exec ${real} "$@"`;
    await writeFile(join(each.folder, 'qemu-img'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const before = await Promise.all([a, one].map((file) => readFile(file)));
    const path = process.env.PATH;
    process.env.PATH = `${each.folder}:${path}`;
    try {
      const text = 'qemu-img had not begun after 10 seconds: what it opens does not answer, or is a pipe';
      await expect(images.commit([each.middle], quiet)).rejects.toThrow(text);
    } finally {
      process.env.PATH = path;
    }
    expect(await Promise.all([a, one].map((file) => readFile(file)))).toEqual(before);
  });

  test('the last one: its contents are the base’s', async () => {
    await using each = await layered();
    const [, one] = each.files;
    await images.commit([each.last], quiet);
    expect(await hasPattern(one, 'qcow2', 3)).toBe(true);
    expect(await readdir(each.folder)).not.toContain('2');
  });

  test('into a raw image, whose contents are never taken for a header', async () => {
    await using folder = await scratchFolder();
    const [raw, top] = [join(folder.path, 'c, d.raw'), join(folder.path, 'c.ov')];
    await qemuImg('create', '-q', '-f', 'raw', raw, '8M');
    await images.create('s', [overlay(disk('xvda', raw, 'raw'), top)], NONE);
    await writePattern(top, 'qcow2', 5);
    await images.commit([{ disk: 'xvda', top: qcow2(top), base: { path: raw, format: 'raw' } }], quiet);
    expect(await hasPattern(raw, 'raw', 5)).toBe(true);
  });

  test('twice is fine; and a merged layer whose file is still there is not merged again', async () => {
    await using each = await layered();
    const [a, one, two] = each.files;
    await cp(one, `${one}.kept`);
    await images.commit([each.middle], quiet);
    await images.commit([each.middle], quiet);
    // As after a crash between the last two steps; the domain has run since.
    await cp(`${one}.kept`, one);
    await writePattern(a, 'qcow2', 9);
    await images.commit([each.middle], quiet);
    expect(await readdir(each.folder)).not.toContain('1');
    expect(await hasPattern(a, 'qcow2', 9)).toBe(true);
    expect(await chainOf(qcow2(two))).toEqual([qcow2(two), qcow2(a)]);
  });

  test('a layer with internal snapshots is refused, naming them; nothing is changed', async () => {
    await using each = await layered();
    const [, one] = each.files;
    await images.create('inside', [disk('xvda', one)], NONE);
    await expect(images.commit([each.middle], quiet)).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: expect.stringContaining("the internal snapshots in it ('inside') would be lost"),
    });
    expect(await snapshotsIn(one)).toEqual(['inside']);
  });

  test('a layer that lies elsewhere than the caller thinks is refused, naming both images', async () => {
    await using each = await layered();
    const [a, one, two] = each.files;
    await expect(images.commit([{ ...each.last, base: qcow2(each.b) }], quiet)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: expect.stringContaining(`the backing image of '${two}' is '${one}', not '${each.b}'`),
    });
    expect(await chainOf(qcow2(two))).toEqual([qcow2(two), qcow2(one), qcow2(a)]);
  });

  test('a layer that is in use is refused', async () => {
    await using each = await layered();
    await using _daemon = await StorageDaemon.start(each.folder, 1, [disk('xvda', each.files[2]).disk]);
    await expect(images.commit([each.last], quiet)).rejects.toThrow('lock');
    expect(await readdir(each.folder)).toContain('2');
  });

  test('cancelled before it begins, nothing is changed', async () => {
    await using each = await layered();
    const commit = images.commit([each.last], { ...quiet, signal: AbortSignal.abort() });
    await expect(commit).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
    expect(await readdir(each.folder)).toContain('2');
  });

  test('rebasing changes the header alone', async () => {
    await using each = await layered();
    const [a, one, two] = each.files;
    await images.rebase(qcow2(two), qcow2(a));
    expect(await chainOf(qcow2(two))).toEqual([qcow2(two), qcow2(a)]);
    expect(await hasPattern(one, 'qcow2', 2)).toBe(true);
    expect(await hasPattern(two, 'qcow2', 3)).toBe(true);
  });
});
