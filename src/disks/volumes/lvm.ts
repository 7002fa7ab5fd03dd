/**
 * Logical volumes of LVM, thin and thick. An internal snapshot in libvirt's sense is here a snapshot volume in the same
 * volume group, named after volume and snapshot. A change is durable when LVM's program returns.
 */

import { readdir } from 'node:fs/promises';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import type { StorageBackend } from '../storage-backend.ts';
import {
  createSnapshot,
  groupOf,
  LVM_PROGRAMS,
  remove,
  requireOne,
  requireSnapshot,
  requireVolume,
  snapshotName,
  snapshotOf,
  type Volume,
  volumeOf,
} from './logical-volumes.ts';
import { LVM_BEFORE_REVERT } from './lvm-before-revert.ts';
import { giveUp, refuseInactive, refuseMerging, requireClosed, revertVolume, unfinished } from './lvm-revert.ts';

/** Internal snapshots of logical volumes, thick or thin. */
export const LVM: StorageBackend = {
  name: 'lvm',
  programs: LVM_PROGRAMS,
  location: 'internal',
  servedBy: 'phy',

  async refusal(disk) {
    try {
      await requireVolume(disk.pdev_path ?? '');
      return undefined;
    } catch (error) {
      return `as an LVM volume (${asLibvirtError(error).detail})`;
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

  async create(name, disks) {
    return await allOrNothing(disks.map(volumeOf), async (volume) => {
      const snapshot = snapshotName(volume, name);
      const origin = requireOne(await groupOf(volume), volume);
      await createSnapshot(volume, origin, snapshot, `cannot create snapshot '${name}' of disk '${volume.disk}'`);
      return [() => remove(volume, snapshot)];
    });
  },

  async check(name, disks, open) {
    for (const { disk } of disks) {
      const volume = volumeOf({ disk });
      const group = await groupOf(volume);
      const origin = requireOne(group, volume);
      if (!unfinished(group, volume).includes(snapshotName(volume, name))) {
        requireSnapshot(group, volume, name, 'OPERATION_INVALID');
      }
      refuseInactive(volume, origin);
      const isOpen = origin.lv_device_open === '1' && !open.has(disk.pdev_path ?? '');
      const holders = await holdersOf(origin);
      if (!isOpen && holders.length === 0) continue;
      const by = holders.length === 0 ? 'by somebody else' : `by ${holders.join(', ')}`;
      const text = `volume '${volume.vg}/${volume.lv}' of disk '${volume.disk}' is in use ${by}`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
  },

  async revert(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) await requireClosed(volume, name);
    for (const volume of volumes) await revertVolume(volume, name);
  },

  before: LVM_BEFORE_REVERT,

  async checkDelete(disk, names) {
    const volume = volumeOf({ disk });
    const group = await groupOf(volume);
    for (const name of names) {
      refuseMerging(group, volume, name);
      const snapshot = snapshotName(volume, name);
      if (group.get(snapshot)?.lv_device_open !== '1') continue;
      const text = `cannot delete snapshot '${name}' of disk '${volume.disk}': volume '${volume.vg}/${snapshot}' is in use: close it first`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
  },

  async delete(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) refuseMerging(await groupOf(volume), volume, name);
    for (const volume of volumes) {
      const group = await groupOf(volume);
      const snapshot = snapshotName(volume, name);
      if (group.has(snapshot)) await remove(volume, snapshot);
      await giveUp(group, volume, name);
    }
  },

  /** The name is enough: nobody else makes a volume of such a name. */
  async fingerprint(name) {
    return name;
  },

  /** Without the snapshots whose names were too long to be part of the volume's name. */
  async list(disk) {
    const volume = volumeOf({ disk });
    return [...(await groupOf(volume)).keys()].flatMap((lv) => {
      const snapshot = snapshotOf(volume, lv);
      return snapshot === undefined ? [] : [{ snapshot, place: `${volume.vg}/${lv}`, isOurs: true }];
    });
  },
};

/** Devices that the host has on top of the volume, as for partitions that a guest has made in it. */
async function holdersOf({ lv_kernel_major, lv_kernel_minor }: Volume): Promise<readonly string[]> {
  return await readdir(`/sys/dev/block/${lv_kernel_major}:${lv_kernel_minor}/holders`).catch(() => []);
}
