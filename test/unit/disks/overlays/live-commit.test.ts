import { execFile } from 'node:child_process';
import { access, readdir, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { LiveSnapshots } from '../../../../src/disks/live-snapshots.ts';
import { isEmptied } from '../../../../src/disks/overlays/empty-overlay.ts';
import { commitLiveLayers } from '../../../../src/disks/overlays/live-commit.ts';
import { graphOf } from '../../../../src/disks/qemu/block-graph.ts';
import { Qmp } from '../../../../src/disks/qemu/qmp.ts';
import type { LayerCommit } from '../../../../src/model/disk-image.ts';
import { deviceModel, on, overlay, pausingProxy } from '../../../support/disks/device-model.ts';
import { imagesInUse } from '../../../support/disks/images-in-use.ts';
import { removingLayers } from '../../../support/disks/removing-layers.ts';
import { checkImage, hasPattern, nbdUri, qemuImg, writePattern } from '../../../support/hosts/embedded.ts';
import { until } from '../../../support/until.ts';

const { signal } = new AbortController();
const qcow2 = (path: string) => ({ path, format: 'qcow2' });

/** Disk xvda on three overlays, `1` to `3`, each written to; xvda's layers by number, 0 being the first image. */
async function chain() {
  const model = await deviceModel();
  const files = [model.a, model.file('1'), model.file('2'), model.file('3')] as const;
  let disk = model.disks[0];
  await model.write('xvda', 1);
  for (const path of files.slice(1)) {
    const options = { monitor: model.monitor, name: 's', disks: [overlay(disk, path)], signal };
    await (await LiveSnapshots.prepare(options)).take();
    disk = on(disk, path);
    await model.write('xvda', Number(path.at(-1)) + 1);
  }
  const layer = (top: 1 | 2 | 3): LayerCommit => ({
    disk: 'xvda',
    top: qcow2(files[top]),
    base: qcow2(files[top - 1] ?? ''),
    ...(top < 3 && { above: qcow2(files[top + 1] ?? '') }),
  });
  const reports: { done: number; total: number }[] = [];
  const progress = (report: { done: number; total: number }) => void reports.push(report);
  return {
    ...{ model, files, layer, reports },
    socket: model.socket,
    commit: (layers: readonly LayerCommit[], more: object = {}) =>
      commitLiveLayers({ socket: model.socket, layers, signal, progress, ...removingLayers, ...more }),
    /** The chain as qemu-img reads it from the headers: the next start of the domain. */
    headers: async (top: string): Promise<readonly string[]> => {
      const json = await qemuImg('info', '-U', '--backing-chain', '--output=json', top);
      return (JSON.parse(json) as { filename: string }[]).map(({ filename }) => filename);
    },
    qmp: async (command: string, args: object = {}) => {
      await using qmp = await Qmp.connect(model.socket, signal);
      return await qmp.execute(command, args, 'test');
    },
    [Symbol.asyncDispose]: () => model[Symbol.asyncDispose](),
  };
}

test('a device model that ends between two layers is the reason that the error has', async () => {
  await using each = await chain();
  const merging = each.commit([each.layer(2), each.layer(1)], { merged: () => each.model.stop() });
  await expect(merging).rejects.toMatchObject({ reason: 'device-model-gone', code: 'OPERATION_FAILED' });
});

test('a guest that ends when it writes to the base already: its next start on the overlay reads what it wrote', async () => {
  await using each = await chain();
  const { files, model } = each;
  const end = async () => {
    await model.write('xvda', 9);
    await model.stop();
  };
  const proxy = { command: 'query-named-block-nodes', nth: 2, before: end };
  const socket = model.file('proxy');
  await using _proxy = await pausingProxy(model.socket, socket, proxy);
  let merged = false;
  const seen = async () => {
    merged = true;
  };
  const watch = { merged: seen, progress: () => {}, signal };
  await commitLiveLayers({ socket, layers: [each.layer(3)], ...watch });
  expect([merged, await isEmptied(qcow2(files[3]))]).toEqual([true, true]);
  expect(await hasPattern(files[3], 'qcow2', 9)).toBe(true);
});

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

describe('a layer is merged into the one beneath while the guest goes on', () => {
  test('one in the middle: the header above is rewritten, the file goes', async () => {
    await using each = await chain();
    const { files, model } = each;
    await each.commit([each.layer(2)]);
    expect(await exists(files[2])).toBe(false);
    expect(await each.headers(files[3])).toEqual([files[3], files[1], files[0]]);
    expect(await model.holds('xvda', 4)).toBe(true);
    await model.stop();
    expect(await hasPattern(files[1], 'qcow2', 3)).toBe(true);
    for (const image of [files[0], files[1], files[3]]) await checkImage(image);
  });

  test('the one that the guest writes to: it goes on in the one beneath', async () => {
    await using each = await chain();
    const { files, model } = each;
    await each.commit([each.layer(3)]);
    expect(await exists(files[3])).toBe(false);
    expect(await imagesInUse(each.socket, [on(model.disks[0], files[2]).disk])).toEqual(
      new Map([['xvda', qcow2(files[2])]]),
    );
    await model.write('xvda', 9);
    await model.stop();
    expect(await hasPattern(files[2], 'qcow2', 9)).toBe(true);
    await checkImage(files[2]);
  });

  test('all of them, until the first image is the disk again: nothing of ours is left in QEMU', async () => {
    await using each = await chain();
    const { files, model } = each;
    await each.commit([each.layer(1), { ...each.layer(2), base: qcow2(files[0]) }]);
    await each.commit([{ ...each.layer(3), base: qcow2(files[0]) }]);
    expect((await readdir(model.folder)).filter((file) => /^[123]$/.test(file))).toEqual([]);
    const { nodes } = await graphOf(each.socket, 'xvda');
    expect(nodes.map(({ node }) => node).sort()).toEqual(['xvda-qcow2', 'xvdb-qcow2', 'xvdc-raw']);
    expect(await each.qmp('query-jobs')).toEqual([]);
    expect(await model.holds('xvda', 4)).toBe(true);
    await model.stop();
    expect(await hasPattern(files[0], 'qcow2', 4)).toBe(true);
  });

  test('and after that snapshots and merges go on as before', async () => {
    await using each = await chain();
    const { files, model } = each;
    await each.commit([each.layer(3)]);
    const next = model.file('4');
    const disks = [overlay(on(model.disks[0], files[2]), next)];
    await (await LiveSnapshots.prepare({ monitor: model.monitor, name: 's', disks, signal })).take();
    await each.commit([{ disk: 'xvda', top: qcow2(next), base: qcow2(files[2]) }]);
    expect(await each.headers(files[2])).toEqual([files[2], files[1], files[0]]);
  });

  test('a raw image at the bottom', async () => {
    await using model = await deviceModel();
    const top = model.file('c.ov');
    const options = { monitor: model.monitor, name: 's', disks: [overlay(model.disks[2], top)], signal };
    await (await LiveSnapshots.prepare(options)).take();
    await model.write('xvdc', 7);
    const layers = [{ disk: 'xvdc', top: qcow2(top), base: { path: model.raw, format: 'raw' } }];
    await commitLiveLayers({ socket: model.socket, layers, signal, progress: () => {}, ...removingLayers });
    await model.stop();
    expect(await hasPattern(model.raw, 'raw', 7)).toBe(true);
  });

  test('progress is bytes of all layers, and never goes back', async () => {
    await using each = await chain();
    await each.commit([each.layer(2), { ...each.layer(3), base: qcow2(each.files[1]) }]);
    const done = each.reports.map((report) => report.done);
    expect(done).toEqual(done.toSorted((a, b) => a - b));
    expect(done.at(-1)).toBeGreaterThanOrEqual(1 << 20);
    for (const report of each.reports) expect(report.done).toBeLessThanOrEqual(report.total);
  });

  test('the monitor is free meanwhile', async () => {
    await using each = await chain();
    const commit = each.commit([each.layer(2)]);
    for (let i = 0; i < 5; i++) await each.qmp('query-status').catch(() => each.qmp('query-version'));
    await commit;
  });
});

test('until it is removed, the merged active image shows what its base does: a definition may still name it', async () => {
  await using each = await chain();
  const { files, model } = each;
  let isEmpty = false;
  const merged = async () => {
    await model.write('xvda', 9);
    isEmpty = await isEmptied(qcow2(files[3]));
  };
  await each.commit([each.layer(3)], { merged });
  expect(isEmpty).toBe(true);
  await model.stop();
  expect(await hasPattern(files[3], 'qcow2', 9)).toBe(true);
});

describe('interrupted, the same call goes on', () => {
  test('a layer whose file is gone is done', async () => {
    await using each = await chain();
    const layer = each.layer(2);
    await each.commit([layer]);
    await each.commit([layer]);
    expect(each.reports.length).toBeGreaterThan(0);
  });

  test('a job that QEMU is still at is taken up again', async () => {
    await using each = await chain();
    const { files } = each;
    const abort = new AbortController();
    // As a daemon that is killed: the job was started, and nobody looks at it any more.
    const killed = each.commit([each.layer(3)], {
      progress: () => {
        throw new Error('killed');
      },
      signal: abort.signal,
    });
    await expect(killed).rejects.toThrow('killed');
    expect(await each.qmp('query-jobs')).toHaveLength(1);
    expect(await exists(files[3])).toBe(true);
    await each.commit([each.layer(3)]);
    expect(await exists(files[3])).toBe(false);
    expect(await each.qmp('query-jobs')).toEqual([]);
    expect(await each.model.holds('xvda', 4)).toBe(true);
  });

  test('a job that has ended since is not begun again: what the guest wrote meanwhile stays', async () => {
    await using each = await chain();
    const { files, model } = each;
    const killed = each.commit([each.layer(3)], { progress: throwing });
    await expect(killed).rejects.toThrow('killed');
    const jobs = async () => (await each.qmp('query-jobs')) as readonly { id: string; status: string }[];
    await until(async () => (await jobs())[0]?.status === 'ready');
    await each.qmp('job-complete', { id: (await jobs())[0]?.id });
    await until(async () => (await jobs())[0]?.status === 'concluded');
    await model.write('xvda', 9);
    await each.commit([each.layer(3)]);
    expect(await exists(files[3])).toBe(false);
    expect(await model.holds('xvda', 9)).toBe(true);
  });

  function throwing(): never {
    throw new Error('killed');
  }
});

describe('an overlay that the guest does not stand on', () => {
  test.each(['made', 'opened'])('is removed where it was only %s, and nothing was written to it', async (state) => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await qemuImg('create', '-q', '-f', 'qcow2', '-b', model.a, '-F', 'qcow2', path);
    if (state === 'opened') {
      await using qmp = await Qmp.connect(model.socket, signal);
      const file = { driver: 'file', filename: path };
      await qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'xvda-snap1', backing: null, file }, 'test');
    }
    const layers = [{ disk: 'xvda', top: qcow2(path), base: qcow2(model.a) }];
    await commitLiveLayers({ socket: model.socket, layers, signal, progress: () => {}, ...removingLayers });
    expect(await exists(path)).toBe(false);
    const { nodes } = await graphOf(model.socket, 'xvda');
    expect(nodes.map(({ node }) => node).sort()).toEqual(['xvda-qcow2', 'xvdb-qcow2', 'xvdc-raw']);
  });

  test('stays where it holds data, which nobody else has', async () => {
    await using model = await deviceModel();
    const path = model.file('a.ov');
    await qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', model.a, '-F', 'qcow2', path, '8M');
    await promisify(execFile)('qemu-io', [
      '-c',
      'write 0 64k',
      `json:${JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: path }, backing: null })}`,
    ]);
    const layers = [{ disk: 'xvda', top: qcow2(path), base: qcow2(model.a) }];
    const commit = commitLiveLayers({ socket: model.socket, layers, signal, progress: () => {}, ...removingLayers });
    await expect(commit).rejects.toThrow('cannot be merged: the device model does not use it');
    expect(await exists(path)).toBe(true);
  });
});

test('a cancelled merge leaves the disk as it was, and no job', async () => {
  await using each = await chain();
  const { files, model } = each;
  const abort = new AbortController();
  await writePattern(nbdUri(model.daemon.nbdSocket, 'xvda'), 'raw', 8);
  const cancelled = each.commit([each.layer(3)], { signal: abort.signal, progress: () => abort.abort() });
  await expect(cancelled).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
  expect(await each.qmp('query-jobs')).toEqual([]);
  expect(await each.headers(files[3])).toEqual([files[3], files[2], files[1], files[0]]);
  expect(await model.holds('xvda', 8)).toBe(true);
  await each.commit([each.layer(3)]);
  expect(await exists(files[3])).toBe(false);
});

describe('refused, with nothing changed', () => {
  test('a layer that holds internal snapshots: they would be lost', async () => {
    await using each = await chain();
    const { model, files } = each;
    const disks = [on(model.disks[0], files[3])];
    for (const name of ['before', 'after']) {
      await (await LiveSnapshots.prepare({ monitor: model.monitor, name, disks, signal })).take();
    }
    await expect(each.commit([each.layer(3)])).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: `image '${files[3]}' of disk 'xvda' cannot be merged: the internal snapshots in it ('before', 'after') would be lost; delete them first`,
    });
    expect(await exists(files[3])).toBe(true);
  });

  test.each([
    ['an image that the device model does not use', { top: 'other' }, 'the device model does not use it'],
    ['a base that is not the backing image', { base: 'other' }, "its backing image is '"],
    ['the top layer, taken for one in the middle', { above: 'other' }, "the guest writes to '"],
  ])('%s', async (_, change, text) => {
    await using each = await chain();
    const { model, files } = each;
    const other = model.file('other');
    await writeFile(other, '');
    const layer = { ...each.layer(3), ...Object.fromEntries(Object.keys(change).map((key) => [key, qcow2(other)])) };
    const error = await each.commit([layer as LayerCommit]).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPERATION_INVALID', detail: expect.stringContaining(text) });
    expect(await exists(other)).toBe(true);
    expect(await exists(files[3])).toBe(true);
  });
});
