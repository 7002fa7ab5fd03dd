import { copyFile, rename, rm } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { checkLiveSnapshots, LiveSnapshots } from '../../../src/disks/live-snapshots.ts';
import { checkLiveLayers } from '../../../src/disks/overlays/live-commit.ts';
import { freeChain } from '../../../src/disks/qemu/block-graph.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { cuttingProxy, deviceModel, overlay } from '../../support/disks/device-model.ts';
import { newImage } from '../../support/hosts/embedded.ts';

const { signal } = new AbortController();
type Model = Awaited<ReturnType<typeof deviceModel>>;

const options = ({ monitor }: Pick<Model, 'monitor'>, disks: readonly LibxlDiskSnapshot[]) => {
  return { monitor, name: 's1', disks, signal };
};

/** The text that names the image. */
const another = (path: string) =>
  `the file at '${path}' is not the one that the guest has open as image of disk 'xvda'`;

describe('another file in the place of the image that a guest writes to', () => {
  test('is refused before an overlay is put above it, and the way out keeps what the guest has', async () => {
    await using model = await deviceModel();
    const { a, disks, file } = model;
    const [disk] = disks;
    const above = [overlay(disk, file('a.over'))];
    await expect(checkLiveSnapshots(options(model, above))).resolves.toBeUndefined();
    await copyFile(a, file('copy'));
    // As rsync and `qemu-img convert` with mv do it.
    await rename(file('copy'), a);
    const text = new RegExp(`${another(a)}: that one was removed.* cp /proc/\\d+/fd/\\d+ ${a}\\.kept$`);
    await expect(checkLiveSnapshots(options(model, above))).rejects.toThrow(text);
    await expect(checkLiveSnapshots(options(model, [{ ...disk, name: 's1' }]))).rejects.toThrow(another(a));
  });

  test('is refused if the guest’s own has another name now, until that is put back', async () => {
    await using model = await deviceModel();
    const { a, disks, file } = model;
    const above = [overlay(disks[0], file('a.over'))];
    await rename(a, file('moved'));
    await newImage(a);
    await expect(checkLiveSnapshots(options(model, above))).rejects.toThrow(`${another(a)}: put that one back`);
    await rename(file('moved'), a);
    await expect(checkLiveSnapshots(options(model, above))).resolves.toBeUndefined();
  });

  test.each(['base', 'top'])('is refused before a merge: the %s', async (which) => {
    await using model = await deviceModel();
    const { a, disks, file, socket } = model;
    const top = { path: file('a.over'), format: 'qcow2' };
    const base = { path: a, format: 'qcow2' };
    await (await LiveSnapshots.prepare(options(model, [overlay(disks[0], top.path)]))).take();
    await expect(checkLiveLayers(socket, [{ disk: 'xvda', top, base }])).resolves.toBeUndefined();
    const { path } = which === 'base' ? base : top;
    await copyFile(path, file('copy'));
    await rename(file('copy'), path);
    await expect(checkLiveLayers(socket, [{ disk: 'xvda', top, base }])).rejects.toThrow(another(path));
    await expect(freeChain(socket, 'xvda', top)).rejects.toThrow(another(path));
  });
});

test('an image of which only the name is gone is not another one', async () => {
  await using model = await deviceModel();
  const { a, file, socket } = model;
  await rename(a, file('moved'));
  await expect(freeChain(socket, 'xvda', { path: a, format: 'qcow2' })).resolves.toBeDefined();
});

test('a device model that cannot be seen from here is believed', async () => {
  await using model = await deviceModel();
  const { a, disks, file, socket } = model;
  await using _ = await cuttingProxy(socket, file('proxy'), 'nothing');
  await rm(a);
  await newImage(a);
  const seen = options({ monitor: async () => file('proxy') }, [overlay(disks[0], file('a.over'))]);
  await expect(checkLiveSnapshots(seen)).resolves.toBeUndefined();
});
