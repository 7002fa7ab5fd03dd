import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { deleteLiveSnapshots } from '../../../../src/disks/live-delete.ts';
import { checkLiveSnapshots, LiveSnapshots } from '../../../../src/disks/live-snapshots.ts';
import { deleteDetached, diskNode, graphOf, requireRoot } from '../../../../src/disks/qemu/block-graph.ts';
import { Qmp } from '../../../../src/disks/qemu/qmp.ts';
import { deviceModel, overlay } from '../../../support/disks/device-model.ts';
import { snapshotsIn } from '../../../support/disks/images.ts';
import { imagesInUse } from '../../../support/disks/images-in-use.ts';
import { disk, newImage, scratchFolder } from '../../../support/hosts/embedded.ts';
import { until } from '../../../support/until.ts';

const { signal } = new AbortController();

test('node names are those of xen-block', () => {
  expect(diskNode({ vdev: 'xvda', format: 'qcow2' })).toEqual({ disk: 'xvda', node: 'xvda-qcow2' });
  expect(diskNode({ vdev: 'hdb', format: 'vhd' })).toEqual({ disk: 'hdb', node: 'hdb-vpc' });
  expect(diskNode({ vdev: 'xvdc' })).toEqual({ disk: 'xvdc', node: 'xvdc-raw' });
});

test('a disk that was detached while on overlays leaves no image open; one that is attached is left alone', async () => {
  await using model = await deviceModel();
  const { socket, monitor, file, disks } = model;
  const [, xvdb] = disks;
  for (const name of ['s1', 's2']) {
    const on = name === 's1' ? xvdb : disk('xvdb', file('s1'));
    const snapshots = await LiveSnapshots.prepare({ name, disks: [overlay(on, file(name))], monitor, signal });
    await snapshots.take();
  }
  const nodes = async () => (await graphOf(socket, 'xvdb')).nodes.map(({ node }) => node).sort();
  const all = ['xvda-qcow2', 'xvdb-qcow2', 'xvdb-snap1', 'xvdb-snap2', 'xvdc-raw'];
  await deleteDetached(socket, 'xvdb');
  expect(await nodes()).toEqual(all);
  {
    await using qmp = await Qmp.connect(socket, signal);
    await qmp.execute('block-export-del', { id: 'xvdb-qcow2', mode: 'hard' }, 'test');
  }
  await until(async () => (await graphOf(socket, 'xvdb')).attached.length === 2);
  expect(await nodes()).toEqual(all);
  await deleteDetached(socket, 'xvdb');
  expect(await nodes()).toEqual(['xvda-qcow2', 'xvdc-raw']);
});

/**
 * A whole QEMU whose disk is there twice, as an HVM guest's is until it has loaded its PV drivers: as an emulated IDE
 * drive, and, by a node name, behind a device that stands in for xen-block.
 */
async function hvmGuest() {
  const folder = await scratchFolder();
  const image = await newImage(join(folder.path, 'a.qcow2'));
  const socket = join(folder.path, 'qmp');
  const child = spawn('qemu-system-x86_64', [
    ...['-M', 'pc', '-nodefaults', '-display', 'none', '-S', '-qmp', `unix:${socket},server=on,wait=off`],
    ...['-drive', `if=ide,index=0,format=qcow2,file=${image},file.locking=off`],
    ...['-blockdev', `driver=qcow2,node-name=hda-qcow2,file.driver=file,file.filename=${image},file.locking=off`],
    ...['-device', 'virtio-blk-pci,drive=hda-qcow2'],
  ]);
  const ended = once(child, 'exit');
  const holds: string[] = [];
  const qmp = async (command: string, args: object = {}) => {
    await using connection = await Qmp.connect(socket, signal);
    return await connection.execute(command, args, 'test');
  };
  await until(() =>
    qmp('query-status').then(
      () => true,
      () => false,
    ),
  );
  return {
    ...{ image, socket, folder: folder.path, hda: disk('hda', image) },
    holds,
    options: (disks: readonly ReturnType<typeof overlay>[]) => ({
      monitor: async () => socket,
      hold: async () => {
        holds.push('held');
        return {
          async [Symbol.asyncDispose]() {
            holds.push('released');
          },
        };
      },
      name: 's1',
      disks,
      signal,
    }),
    /** The image as each of the two has it open. */
    nodes: async () =>
      (await graphOf(socket, 'hda')).nodes.filter(({ path, driver }) => path === image && driver === 'qcow2'),
    root: async () => requireRoot(await graphOf(socket, 'hda'), disk('hda', image).disk),
    /** As the guest's PV drivers do. */
    unplug: () => qmp('human-monitor-command', { 'command-line': 'drive_del ide0-hd0' }),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('a disk that is there twice', () => {
  test('is the emulated drive as long as QEMU lists it, the PV disk after that', async () => {
    await using guest = await hvmGuest();
    expect(await guest.root()).toMatchObject({ emulated: 'ide0-hd0', path: guest.image });
    await guest.unplug();
    const root = await guest.root();
    expect(root).toMatchObject({ node: 'hda-qcow2', path: guest.image });
    expect(root).not.toHaveProperty('emulated');
  });

  test('gets an internal snapshot by the drive that is in use', async () => {
    await using guest = await hvmGuest();
    const snapshots = await LiveSnapshots.prepare(guest.options([guest.hda]));
    const [result] = await snapshots.take();
    expect(result?.node).not.toBe('hda-qcow2');
    expect(await snapshotsIn(guest.image)).toEqual(['s1']);
  });

  test('is known with its snapshots to the PV disk, too, which would write over them otherwise', async () => {
    await using guest = await hvmGuest();
    const names = async () => (await guest.nodes()).map(({ snapshots }) => snapshots.map(({ name }) => name));
    const snapshots = await LiveSnapshots.prepare(guest.options([guest.hda]));
    expect(snapshots.needsPause).toBe(true);
    await snapshots.take();
    expect(await names()).toEqual([['s1'], ['s1']]);
    await deleteLiveSnapshots(guest.options([guest.hda]));
    expect(await names()).toEqual([[], []]);
    expect(guest.holds).toEqual(['held', 'released']);
    await guest.unplug();
    expect((await LiveSnapshots.prepare(guest.options([guest.hda]))).needsPause).toBe(false);
  });

  test('gets no overlay, which would be above one of the two only; after the unplug it does', async () => {
    await using guest = await hvmGuest();
    const options = guest.options([overlay(guest.hda, join(guest.folder, 'a.ov'))]);
    await expect(checkLiveSnapshots(options)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: expect.stringMatching(/^disk 'hda' is still used as emulated drive 'ide0-hd0' beside its PV disk/),
    });
    await guest.unplug();
    await (await LiveSnapshots.prepare(options)).take();
    const inUse = await imagesInUse(guest.socket, [guest.hda.disk]);
    expect(inUse.get('hda')).toEqual({ path: join(guest.folder, 'a.ov'), format: 'qcow2' });
  });
});
