/**
 * Logical volumes of LVM, thin and thick. What libvirt calls an internal snapshot is here a snapshot volume in the same
 * volume group, named after volume and snapshot. LVM writes its metadata through: what has returned is durable.
 */

import { readdir } from 'node:fs/promises';
import { LibvirtError, undoAll } from '../../errors.ts';
import {
  createSnapshot,
  groupOf,
  remove,
  requireOne,
  requireSnapshot,
  snapshotName,
  snapshotOf,
  type Volume,
  volumeOf,
} from './logical-volumes.ts';
import {
  giveUp,
  refuseInactive,
  refuseMerging,
  requireClosed,
  revertThick,
  revertThin,
  unfinished,
} from './lvm-revert.ts';
import type { ListedVolumeSnapshots } from './volume-snapshots.ts';

export const LVM: ListedVolumeSnapshots = {
  async create(name, disks) {
    await LVM.checkFree(name, disks);
    const made: (() => Promise<void>)[] = [];
    try {
      for (const volume of disks.map(volumeOf)) {
        const snapshot = snapshotName(volume, name);
        await createSnapshot(volume, snapshot, `cannot create snapshot '${name}' of disk '${volume.disk}'`);
        made.push(() => remove(volume, snapshot));
      }
    } catch (error) {
      throw await undoAll(made, error);
    }
  },

  async checkFree(name, disks) {
    for (const volume of disks.map(volumeOf)) {
      const taken = snapshotName(volume, name);
      if (!(await groupOf(volume)).has(taken)) continue;
      const text = `disk '${volume.disk}' already has a snapshot volume '${volume.vg}/${taken}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  async apply(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) await requireClosed(volume, name);
    for (const volume of volumes) {
      const { pool_lv } = requireOne(await groupOf(volume), volume);
      await (pool_lv === '' ? revertThick(volume, name) : revertThin(volume, name));
    }
  },

  async delete(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) await refuseMerging(volume, name);
    for (const volume of volumes) {
      const snapshot = snapshotName(volume, name);
      if ((await groupOf(volume)).has(snapshot)) await remove(volume, snapshot);
      await giveUp(volume, name);
    }
  },

  async list(disk) {
    const volume = volumeOf({ disk });
    return [...(await groupOf(volume)).keys()].flatMap((lv) => {
      const snapshot = snapshotOf(volume, lv);
      return snapshot === undefined ? [] : [{ snapshot, volume: `${volume.vg}/${lv}` }];
    });
  },

  async check(name, disks, open) {
    for (const snapshot of disks) {
      const volume = volumeOf(snapshot);
      const group = await groupOf(volume);
      const origin = requireOne(group, volume);
      if (!unfinished(group, volume).includes(snapshotName(volume, name))) {
        requireSnapshot(group, volume, name, 'OPERATION_INVALID');
      }
      refuseInactive(volume, origin);
      const isOpen = origin.lv_device_open === '1' && !open.has(snapshot.disk.pdev_path ?? '');
      const holders = await holdersOf(origin);
      if (!isOpen && holders.length === 0) continue;
      const by = holders.length === 0 ? 'by somebody else' : `beneath ${holders.join(', ')}`;
      const text = `volume '${volume.vg}/${volume.lv}' of disk '${volume.disk}' is in use ${by}`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
  },
};

/** Devices that the host has made on top of the volume, as for partitions or volumes that a guest has in it. */
async function holdersOf({ lv_kernel_major, lv_kernel_minor }: Volume): Promise<readonly string[]> {
  return await readdir(`/sys/dev/block/${lv_kernel_major}:${lv_kernel_minor}/holders`).catch(() => []);
}
