/** What this process has put on stable storage before it goes on: an order that only a power failure would show. */

import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { LiveSnapshots } from '../../../src/disks/live-snapshots.ts';
import { OfflineImages } from '../../../src/disks/offline-snapshots.ts';
import { commitLiveLayers } from '../../../src/disks/overlays/live-commit.ts';
import type { LayerCommit } from '../../../src/model/disk-image.ts';
import { deviceModel, on, overlay } from '../../support/disks/device-model.ts';
import { removingLayers } from '../../support/disks/removing-layers.ts';
import { twoImages } from '../../support/disks/two-images.ts';
import { disk, writePattern } from '../../support/hosts/embedded.ts';
import { recordSyncs } from '../../support/syncs.ts';

const images = new OfflineImages();
const NONE: ReadonlySet<string> = new Set();
const { signal } = new AbortController();
const watch = { signal, progress: () => {}, ...removingLayers };
const qcow2 = (path: string) => ({ path, format: 'qcow2' });

/** What is synced in the folder while `work` runs: `name +` if `file` is there then, `name -` if not; `.`: the folder. */
async function synced(folder: string, file: string, work: () => Promise<unknown>): Promise<readonly string[]> {
  using recorded = await recordSyncs(() => readdir(folder));
  await work();
  const name = (path: string) => (path === folder ? '.' : basename(path));
  return recorded.syncs.map(({ path, seen }) =>
    `${name(path)} ${seen.includes(file) ? '+' : '-'}`.replace(/-merged-\w+/, '-merged'),
  );
}

/** Layers `1` and `2` above xvda's image. */
function layers([a, one, two]: readonly [string, string, string]) {
  return {
    middle: { disk: 'xvda', top: qcow2(one), base: qcow2(a), above: qcow2(two) },
    last: { disk: 'xvda', top: qcow2(two), base: qcow2(one) },
  } satisfies Record<string, LayerCommit>;
}

async function offline() {
  const two = await twoImages();
  const files = [two.a, join(two.folder, '1'), join(two.folder, '2')] as const;
  await images.create('s', [overlay(disk('xvda', files[0]), files[1])], NONE);
  await images.create('s', [overlay(disk('xvda', files[1]), files[2])], NONE);
  await writePattern(files[2], 'qcow2', 1);
  return { ...two, ...layers(files), base: basename(two.a), file: (name: string) => join(two.folder, name) };
}

async function live() {
  const model = await deviceModel();
  const files = [model.a, model.file('1'), model.file('2')] as const;
  for (const [index, path] of [files[1], files[2]].entries()) {
    const disks = [overlay(on(model.disks[0], files[index] ?? ''), path)];
    await (await LiveSnapshots.prepare({ monitor: model.monitor, name: 's', disks, signal })).take();
  }
  const commit = (layer: LayerCommit) => commitLiveLayers({ socket: model.socket, layers: [layer], ...watch });
  return {
    ...model,
    ...layers(files),
    base: basename(model.a),
    commit,
    [Symbol.asyncDispose]: model[Symbol.asyncDispose],
  };
}

test('a new overlay, and its name, before anything is done with it', async () => {
  await using each = await offline();
  const disks = [overlay(disk('xvdb', each.b), each.file('new'))];
  expect(await synced(each.folder, 'new', () => images.create('s', disks, NONE))).toEqual(['new +', '. +']);
  await using model = await deviceModel();
  const options = { monitor: model.monitor, name: 's', disks: [overlay(model.disks[0], model.file('new'))], signal };
  expect(await synced(model.folder, 'new', () => LiveSnapshots.prepare(options))).toEqual(['new +', '. +']);
});

test('an overlay that is given its base', async () => {
  await using each = await offline();
  const rebase = () => images.rebase(qcow2(each.file('2')), qcow2(each.a));
  expect(await synced(each.folder, '2', rebase)).toEqual(['2 +', '. +']);
});

test('an internal snapshot, when it is made, applied and deleted', async () => {
  await using each = await twoImages();
  const xvda = [disk('xvda', each.a)];
  for (const work of [
    () => images.create('s1', xvda, NONE),
    () => images.apply('s1', xvda),
    () => images.delete('s1', xvda),
  ]) {
    expect(await synced(each.folder, basename(each.a), work)).toEqual([`${basename(each.a)} +`, '. +']);
  }
});

test('the image that a layer was merged into, before the layer is emptied, and then its removal', async () => {
  const order = ['.xlsnap-merged +', '. +', '1 +', '. +', '. +', '. -'];
  await using each = await offline();
  expect(await synced(each.folder, '2', () => images.commit([each.last], watch))).toEqual(order);
  await using model = await live();
  expect(await synced(model.folder, '2', () => model.commit(model.last))).toEqual(order);
});

test('the image and the header of the layer above, before a layer in the middle is removed', async () => {
  await using each = await offline();
  const order = (base: string) => [`${base} +`, '. +', '2 +', '. +', '. -'];
  expect(await synced(each.folder, '1', () => images.commit([each.middle], watch))).toEqual(order(each.base));
  await using model = await live();
  expect(await synced(model.folder, '1', () => model.commit(model.middle))).toEqual(order(model.base));
});
