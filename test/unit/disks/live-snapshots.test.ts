import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { deleteLiveSnapshots } from '../../../src/disks/live-delete.ts';
import { checkLiveSnapshots, LiveSnapshots } from '../../../src/disks/live-snapshots.ts';
import { graphOf } from '../../../src/disks/qemu/block-graph.ts';
import { LibvirtError } from '../../../src/errors.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { cuttingProxy, deviceModel, on, overlay } from '../../support/disks/device-model.ts';
import { snapshotsIn } from '../../support/disks/images.ts';
import { checkImage, hasPattern, newImage, qemuImg, writePattern } from '../../support/hosts/embedded.ts';

const { signal } = new AbortController();
type Model = Awaited<ReturnType<typeof deviceModel>>;

function options({ monitor }: Pick<Model, 'monitor'>, disks: readonly LibxlDiskSnapshot[], name = 's1') {
  return { monitor, name, disks, signal };
}

async function take(model: Model, disks: readonly LibxlDiskSnapshot[], name?: string) {
  return (await LiveSnapshots.prepare(options(model, disks, name))).take();
}

/** The files of the folder, without the device model's own. */
async function images({ folder }: Model): Promise<readonly string[]> {
  return (await readdir(folder)).filter((file) => !/^1\./.test(file)).sort();
}

const UNTOUCHED = ['a.qcow2', 'b,b.qcow2', 'c.raw'];

describe('internal snapshots', () => {
  test('of two disks in one transaction hold what was in them at that moment', async () => {
    await using model = await deviceModel();
    const { a, b, disks } = model;
    for (const vdev of ['xvda', 'xvdb']) await model.write(vdev, 0x11);
    await take(model, disks.slice(0, 2));
    for (const vdev of ['xvda', 'xvdb']) await model.write(vdev, 0x22);
    expect(await model.holds('xvda', 0x22)).toBe(true);
    await model.stop();
    for (const image of [a, b]) {
      expect(await snapshotsIn(image)).toEqual(['s1']);
      await qemuImg('snapshot', '-a', 's1', image);
      expect(await hasPattern(image, 'qcow2', 0x11)).toBe(true);
      await checkImage(image);
    }
  });

  test('a name that one image has already is refused, and the other image gets nothing', async () => {
    await using model = await deviceModel();
    const { a, b, disks } = model;
    await take(model, disks.slice(1, 2));
    const text = `operation failed: disk 'xvdb' already has an internal snapshot 's1' in '${b}': choose another name`;
    await expect(checkLiveSnapshots(options(model, disks.slice(0, 2)))).rejects.toThrow(text);
    await expect(LiveSnapshots.prepare(options(model, disks.slice(0, 2)))).rejects.toThrow(text);
    expect(await snapshotsIn(a)).toEqual([]);
    expect(await snapshotsIn(b)).toEqual(['s1']);
  });

  test('deleting twice is fine, and leaves clean images', async () => {
    await using model = await deviceModel();
    const { a, b } = model;
    const disks = model.disks.slice(0, 2);
    await take(model, disks, 's1');
    await take(model, disks, 's2');
    await deleteLiveSnapshots(options(model, disks));
    await deleteLiveSnapshots(options(model, disks));
    await model.stop();
    for (const image of [a, b]) {
      expect(await snapshotsIn(image)).toEqual(['s2']);
      await checkImage(image);
    }
  });

  test('in an image that the guest has left cannot be deleted through its device model', async () => {
    await using model = await deviceModel();
    const [xvda] = model.disks;
    await take(model, [xvda]);
    await take(model, [overlay(xvda, model.file('a.ov'))]);
    await expect(deleteLiveSnapshots(options(model, [xvda]))).rejects.toMatchObject({
      code: 'OPERATION_UNSUPPORTED',
      detail: `disk image '${model.a}' for internal snapshot 's1' is not the same as disk image currently used by VM`,
    });
    expect(await snapshotsIn(model.a)).toEqual(['s1']);
  });

  test('a definition may name an image by a link: a snapshot of it is taken and deleted; another file is refused', async () => {
    await using model = await deviceModel();
    const { a, file, disks } = model;
    await symlink(a, file('link'));
    const linked = on(disks[0], file('link'));
    await take(model, [linked]);
    expect(await snapshotsIn(a)).toEqual(['s1']);
    await deleteLiveSnapshots(options(model, [linked]));
    expect(await snapshotsIn(a)).toEqual([]);
    await take(model, [overlay(linked, file('a.e1'))], 'e1');
    expect(await model.holds('xvda', 0)).toBe(true);
    await newImage(file('other.qcow2'));
    await expect(checkLiveSnapshots(options(model, [on(disks[0], file('other.qcow2'))]))).rejects.toThrow(
      `disk 'xvda' is '${file('a.e1')}' in the device model, but '${file('other.qcow2')}' in the domain's definition`,
    );
  });

  test('no disks is no work, not even a connection', async () => {
    const nothing = { monitor: () => Promise.reject(new Error('asked for')), name: 's1', disks: [], signal };
    const snapshots = await LiveSnapshots.prepare(nothing);
    expect(await snapshots.take()).toEqual([]);
    await deleteLiveSnapshots(nothing);
  });

  test('a raw disk is refused with code 67, naming it', async () => {
    await using model = await deviceModel();
    await expect(checkLiveSnapshots(options(model, model.disks))).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: 'internal snapshot for disk xvdc unsupported for storage type raw',
    });
  });

  test('a disk that QEMU does not serve is refused, naming disk and image', async () => {
    await using model = await deviceModel();
    const { vdev: _, ...disk } = model.disks[0].disk;
    const unserved = await newImage(join(model.folder, 'unserved.qcow2'));
    const unknown = { disk: { ...disk, vdev: 'xvdz', pdev_path: unserved } };
    await expect(checkLiveSnapshots(options(model, [unknown]))).rejects.toThrow(
      `operation failed: the device model serves no disk 'xvdz' (image '${unserved}')`,
    );
  });
});

describe('external snapshots', () => {
  test('the guest writes to the overlay from then on, and the image beneath stays as it was', async () => {
    await using model = await deviceModel();
    const [xvda] = model.disks;
    const path = model.file('a.ov');
    await model.write('xvda', 0x11);
    const [result] = await take(model, [overlay(xvda, path)]);
    expect(result).toMatchObject({ path, backing: model.a, node: 'xvda-snap1' });
    await model.write('xvda', 0x22);
    expect(await model.holds('xvda', 0x22)).toBe(true);
    expect((await stat(path)).mode).toBe((await stat(model.a)).mode);
    await model.stop();
    expect(await hasPattern(model.a, 'qcow2', 0x11)).toBe(true);
    expect(await hasPattern(path, 'qcow2', 0x22)).toBe(true);
    expect(JSON.parse(await qemuImg('info', '--output=json', path))).toMatchObject({
      'backing-filename': model.a,
      'backing-filename-format': 'qcow2',
    });
    await checkImage(path);
  });

  test('of a raw disk, an internal one and an external one are taken in one transaction', async () => {
    await using model = await deviceModel();
    const [xvda, xvdb, xvdc] = model.disks;
    const [b1, c1] = [model.file('b.ov'), model.file('c.ov')];
    const results = await take(model, [xvda, overlay(xvdb, b1), overlay(xvdc, c1)]);
    expect(results.map(({ path, backing }) => [path, backing])).toEqual([
      [model.a, undefined],
      [b1, model.b],
      [c1, model.raw],
    ]);
    expect(await snapshotsIn(model.a)).toEqual(['s1']);
    const { 'backing-filename-format': format } = JSON.parse(await qemuImg('info', '-U', '--output=json', c1));
    expect(format).toBe('raw');
  });

  test('one above the other: each is found by what QEMU says, nothing is remembered', async () => {
    await using model = await deviceModel();
    let disk: LibxlDiskSnapshot = model.disks[0];
    for (const n of [1, 2, 3]) {
      const path = model.file(`a.${n}`);
      await model.write('xvda', n);
      const [result] = await take(model, [overlay(disk, path)], `s${n}`);
      expect(result).toMatchObject({ path, backing: disk.disk.pdev_path, node: `xvda-snap${n}` });
      disk = on(disk, path);
    }
    await take(model, [disk], 'inside');
    expect(await snapshotsIn(model.file('a.3'))).toEqual(['inside']);
    expect(await model.holds('xvda', 3)).toBe(true);
  });

  test('a disk that is on another image than the definition says is refused, naming both', async () => {
    await using model = await deviceModel();
    const [xvda] = model.disks;
    await take(model, [overlay(xvda, model.file('a.1'))]);
    const again = checkLiveSnapshots(options(model, [overlay(xvda, model.file('a.2'))], 's2'));
    await expect(again).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: `disk 'xvda' is '${model.file('a.1')}' in the device model, but '${model.a}' in the domain's definition: shut the guest off and start it again`,
    });
  });

  test('a file that is there is refused in libvirt’s words and stays; an empty one is used', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await writeFile(path, 'precious');
    const disks = [overlay(model.disks[0], path)];
    for (const attempt of [checkLiveSnapshots, LiveSnapshots.prepare]) {
      await expect(attempt(options(model, disks))).rejects.toMatchObject({
        code: 'CONFIG_UNSUPPORTED',
        detail: `external snapshot file for disk xvda already exists and is not a block device: ${path}`,
      });
    }
    expect(await readFile(path, 'utf8')).toBe('precious');
    await writeFile(path, '');
    expect(await take(model, disks)).toMatchObject([{ path }]);
  });

  test.each([
    ['no path', { external_path: undefined }, 'needs the absolute path of a new file'],
    ['a relative path', { external_path: 'x.ov' }, 'needs the absolute path of a new file'],
    ['another format', { external_format: 'raw' }, 'external snapshot format for disk xvda is unsupported: raw'],
  ])('%s is refused with code 67', async (_, change, text) => {
    await using model = await deviceModel();
    const disks = [overlay(model.disks[0], model.file('a.ov'), change as Partial<LibxlDiskSnapshot>)];
    const refused = await checkLiveSnapshots(options(model, disks)).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'CONFIG_UNSUPPORTED', detail: expect.stringContaining(text) });
  });

  test('a folder that is not there is named', async () => {
    await using model = await deviceModel();
    const disks = [overlay(model.disks[0], model.file('missing/a.ov'))];
    await expect(checkLiveSnapshots(options(model, disks))).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      detail: `cannot create external snapshot of disk 'xvda' in '${model.file('missing')}': No such file or directory`,
    });
  });
});

describe('an overlay that the caller has made', () => {
  const reuse = { external_reuse: true };

  test('is used: the guest writes to it', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await qemuImg('create', '-q', '-f', 'qcow2', '-b', model.a, '-F', 'qcow2', path);
    await take(model, [overlay(model.disks[0], path, reuse)]);
    await model.write('xvda', 0x22);
    await model.stop();
    expect(await hasPattern(path, 'qcow2', 0x22)).toBe(true);
    expect(await hasPattern(model.a, 'qcow2', 0x22)).toBe(false);
  });

  test('that names no backing image is given it, for the next start of the domain', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await model.write('xvda', 0x11);
    await qemuImg('create', '-q', '-f', 'qcow2', path, '8M');
    await take(model, [overlay(model.disks[0], path, reuse)]);
    await model.stop();
    expect(await hasPattern(path, 'qcow2', 0x11)).toBe(true);
  });

  test('that is missing is refused in libvirt’s words', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await expect(checkLiveSnapshots(options(model, [overlay(model.disks[0], path, reuse)]))).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `missing existing file for disk xvda: ${path}: No such file or directory`,
    });
  });

  test.each([
    ['above another image', (b: string) => ['-b', b, '-F', 'qcow2'], '8M', 'its backing image is'],
    ['of another size', () => [], '16M', 'it is a disk of 16777216 bytes, not of 8388608'],
  ])('%s is refused, and stays', async (_, backing, size, text) => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await qemuImg('create', '-q', '-f', 'qcow2', ...backing(model.b), path, size);
    const refused = LiveSnapshots.prepare(options(model, [overlay(model.disks[0], path, reuse)]));
    await expect(refused).rejects.toThrow(text);
    expect(await images(model)).toContain('a.ov');
  });

  test('that holds data is refused: the guest would see it', async () => {
    await using model = await deviceModel();
    const path = await newImage(model.file('a.ov'));
    await writePattern(path, 'qcow2', 0x33);
    const refused = LiveSnapshots.prepare(options(model, [overlay(model.disks[0], path, reuse)]));
    await expect(refused).rejects.toThrow('it is not empty');
    expect(await hasPattern(path, 'qcow2', 0x33)).toBe(true);
  });
});

describe('after a failure nothing is left', () => {
  test('when one of several overlays cannot be made', async () => {
    await using model = await deviceModel();
    const [xvda, xvdb] = model.disks;
    const disks = [overlay(xvda, model.file('same.ov')), overlay(xvdb, model.file('same.ov'))];
    await expect(LiveSnapshots.prepare(options(model, disks))).rejects.toThrow('already exists');
    expect(await images(model)).toEqual(UNTOUCHED);
  });

  test('when QEMU fails an action: the whole transaction is taken back, nodes and files go', async () => {
    await using model = await deviceModel();
    const [xvda, xvdb] = model.disks;
    const snapshots = await LiveSnapshots.prepare(options(model, [overlay(xvda, model.file('a.ov')), xvdb, xvdb]));
    const error = await snapshots.take().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ detail: expect.stringMatching(/^transaction of snapshot 's1' .*already exists/) });
    expect(await snapshots.undo(error)).toBe(error);
    expect(await images(model)).toEqual(UNTOUCHED);
    expect(await snapshotsIn(model.b)).toEqual([]);
    const { nodes } = await graphOf(model.socket, 'xvda');
    expect(nodes.map(({ node }) => node).sort()).toEqual(['xvda-qcow2', 'xvdb-qcow2', 'xvdc-raw']);
  });

  test('when a later step fails: what the guest has written since is merged back', async () => {
    await using model = await deviceModel();
    const [xvda, xvdb] = model.disks;
    const snapshots = await LiveSnapshots.prepare(options(model, [overlay(xvda, model.file('a.ov')), xvdb]));
    await snapshots.take();
    await model.write('xvda', 0x22);
    const later = new LibvirtError('SYSTEM_ERROR', 'journal failed');
    expect(await snapshots.undo(later)).toBe(later);
    expect(await images(model)).toEqual(UNTOUCHED);
    expect(await model.holds('xvda', 0x22)).toBe(true);
    await model.stop();
    expect(await hasPattern(model.a, 'qcow2', 0x22)).toBe(true);
    expect(await snapshotsIn(model.b)).toEqual([]);
    for (const image of [model.a, model.b]) await checkImage(image);
  });

  test('when it is cancelled before the transaction', async () => {
    await using model = await deviceModel();
    const abort = new AbortController();
    const disks = [overlay(model.disks[0], model.file('a.ov'))];
    const snapshots = await LiveSnapshots.prepare({ ...options(model, disks), signal: abort.signal });
    abort.abort();
    const error = await snapshots.take().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPERATION_ABORTED' });
    expect(await snapshots.undo(error)).toBe(error);
    expect(await images(model)).toEqual(UNTOUCHED);
  });

  test('when the reply of a transaction that was done is lost', async () => {
    await using model = await deviceModel();
    const [xvda, xvdb] = model.disks;
    const socket = model.file('proxy');
    await using _ = await cuttingProxy(model.socket, socket, 'transaction');
    const disks = [overlay(xvda, model.file('a.ov')), xvdb];
    const snapshots = await LiveSnapshots.prepare(options({ monitor: async () => socket }, disks));
    const error = await snapshots.take().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LibvirtError);
    expect(await snapshots.undo(error)).toBe(error);
    expect(await snapshotsIn(model.b)).toEqual([]);
    expect((await images(model)).filter((file) => file !== 'proxy')).toEqual(UNTOUCHED);
    expect(await model.holds('xvda', 0)).toBe(true);
  });

  test('the lost reply to the question before it costs nobody a snapshot of that name', async () => {
    await using model = await deviceModel();
    const [xvda] = model.disks;
    await take(model, [xvda]);
    const socket = model.file('proxy');
    await using _ = await cuttingProxy(model.socket, socket, 'query-named-block-nodes');
    await expect(LiveSnapshots.prepare(options({ monitor: async () => socket }, [xvda]))).rejects.toThrow(
      /query-named-block-nodes/,
    );
    expect(await snapshotsIn(model.a)).toEqual(['s1']);
  });

  test('an overlay that cannot be merged back, its device model being dead, stays and is named', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    const snapshots = await LiveSnapshots.prepare(options(model, [overlay(model.disks[0], path)]));
    await snapshots.take();
    await model.stop();
    const error = await snapshots.undo(new LibvirtError('SYSTEM_ERROR', 'journal failed'));
    expect(error.detail).toMatch(`journal failed; left over: disk 'xvda' may be left on overlay '${path}'`);
    expect(await images(model)).toContain('a.ov');
  });
});
