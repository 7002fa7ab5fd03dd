import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { OfflineImages } from '../../../src/disks/offline-snapshots.ts';
import { commitLiveLayers } from '../../../src/disks/overlays/live-commit.ts';
import { domainSnapshotRestore } from '../../../src/libxl/restore.ts';
import { readTie } from '../../../src/memory/image-file.ts';
import { checkTie, retie, tieOf } from '../../../src/memory/tie.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { overlay } from '../../support/disks/device-model.ts';
import { removingLayers } from '../../support/disks/removing-layers.ts';
import { nbdUri, writePattern } from '../../support/hosts/embedded.ts';
import { guest } from '../../support/libxl/guest.ts';

const { signal } = new AbortController();
const images = new OfflineImages();

/** A saved guest with an overlay above xvda and an internal snapshot of xvdb, its device model gone. */
async function saved(more: object = {}) {
  const vm = await guest();
  const [xvda, xvdb] = vm.disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
  const [path, disks] = [join(vm.folder, 'a.ov'), [overlay(xvda, join(vm.folder, 'a.ov')), xvdb]];
  const snapshot = await vm.save({}, { disks, ...more });
  return { ...vm, disks, xvdb, snapshot, overlayPath: path, check: () => checkTie(vm.memory_path, 's1', disks) };
}

test('an image goes with its disks as long as their snapshots stay, whatever the guest writes', async () => {
  await using vm = await saved();
  expect(await readTie(vm.memory_path)).toBe(await tieOf('s1', vm.disks));
  for (const name of ['xvda', 'xvdb']) await writePattern(nbdUri(vm.daemon.nbdSocket, name), 'raw', 0x22);
  await vm.daemon[Symbol.asyncDispose]();
  await vm.check();
  await images.apply('s1', [vm.xvdb]);
  await vm.check();
});

describe('refused with code 55, naming image and disks', () => {
  test('when the image beneath the overlay was written to', async () => {
    await using vm = await saved();
    await vm.daemon[Symbol.asyncDispose]();
    await writePattern(vm.images[0], 'qcow2', 0x33);
    await expect(vm.check()).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: `memory image '${vm.memory_path}' of snapshot 's1' does not go with its disks any more: '${vm.images[0]}', '${vm.images[1]}' have been changed since`,
    });
  });

  test('when the internal snapshot is another one of the same name', async () => {
    await using vm = await saved();
    await vm.daemon[Symbol.asyncDispose]();
    await images.delete('s1', [vm.xvdb]);
    await expect(vm.check()).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
    await images.create('s1', [vm.xvdb], new Set());
    await expect(vm.check()).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
  });

  test('by a restore, before Xen is asked', async () => {
    await using vm = await saved();
    await vm.daemon[Symbol.asyncDispose]();
    vm.xen.guest = null;
    await images.delete('s1', [vm.xvdb]);
    vm.xen.calls.length = 0;
    await expect(domainSnapshotRestore(vm.snapshot, { signal }, vm.xen)).rejects.toThrow('does not go with its disks');
    expect(vm.xen.calls).toEqual([]);
  });
});

test('a restore of an image whose disks are right goes on', async () => {
  await using vm = await saved();
  await vm.daemon[Symbol.asyncDispose]();
  vm.xen.guest = null;
  expect(await domainSnapshotRestore(vm.snapshot, { signal }, vm.xen)).toBe(5);
});

test('after a merge that keeps the contents the image is tied anew', async () => {
  await using vm = await saved();
  const layers = [
    { disk: 'xvda', top: { path: vm.overlayPath, format: 'qcow2' }, base: { path: vm.images[0], format: 'qcow2' } },
  ];
  await writePattern(nbdUri(vm.daemon.nbdSocket, 'xvda'), 'raw', 0x22);
  await commitLiveLayers({ socket: vm.daemon.qmpSocket, layers, signal, progress: () => {}, ...removingLayers });
  await expect(vm.check()).rejects.toThrow('does not go with its disks');
  await retie(vm.memory_path, 's1', vm.disks);
  await vm.check();
});

test('an image that nobody has tied is not checked, and memory alone has nothing to be tied to', async () => {
  await using vm = await saved({ disks: [] });
  expect(await readTie(vm.memory_path)).toBeUndefined();
  expect(await tieOf('s1', [])).toBeUndefined();
  await writeFile(vm.images[0], 'another');
  await vm.check();
  await retie(vm.memory_path, 's1', vm.disks);
  expect(await readTie(vm.memory_path)).toBeUndefined();
});
