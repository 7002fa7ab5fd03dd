/** What logical volumes held before a revert of several disks: another snapshot of each. */

import { LibvirtError } from '../../errors.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import type { ContentsBefore } from '../contents-before.ts';
import {
  beforeName,
  createSnapshot,
  EMPTY_SNAPSHOT_BYTES,
  freshName,
  type Group,
  groupOf,
  type LogicalVolume,
  remove,
  replacedName,
  requireOne,
  snapshotName,
  volumeOf,
} from './logical-volumes.ts';
import { completeRevert, putBack, requireClosed, unfinished } from './lvm-revert.ts';

/** Two decimals of LVM's percentages. */
const PERCENT_STEP = 0.01;

export const LVM_BEFORE_REVERT: ContentsBefore = {
  async checkRoom(name, disks) {
    const needed = new Map<string, number>();
    for (const volume of disks.map(volumeOf)) {
      const { vg, disk } = volume;
      const group = await groupOf(volume);
      const { pool_lv, vg_free, vg_extent_size } = requireOne(group, volume);
      if (pool_lv !== '') continue;
      const extent = Number(vg_extent_size);
      const bytes = (needed.get(vg) ?? 0) + Math.ceil(keptBytes(group, volume, name) / extent) * extent;
      needed.set(vg, bytes);
      if (bytes <= Number(vg_free)) continue;
      throw new LibvirtError(
        'OPERATION_INVALID',
        `no space to keep what volume '${vg}/${volume.lv}' of disk '${disk}' holds until all disks are reverted: ` +
          `${mib(bytes)} MiB are needed in volume group '${vg}', and ${mib(Number(vg_free))} MiB are free; ` +
          'delete snapshots or enlarge the group (vgextend)',
      );
    }
  },

  async keep(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) await requireClosed(volume, name);
    await allOrNothing(volumes, async (volume) => {
      const kept = beforeName(volume.lv);
      const failure = `cannot keep what disk '${volume.disk}' holds`;
      const group = await completeRevert(volume, await groupOf(volume), failure);
      if (group.has(kept)) await remove(volume, kept);
      await createSnapshot(volume, requireOne(group, volume), kept, failure, keptBytes(group, volume, name));
      return [() => remove(volume, kept)];
    });
  },

  async find({ disk }) {
    const volume = volumeOf({ disk });
    const kept = beforeName(volume.lv);
    const group = await groupOf(volume);
    return group.has(kept) || unfinished(group, volume).includes(kept) ? placeOf(volume.vg, kept) : undefined;
  },

  async putBack(disks) {
    for (const volume of disks.map(volumeOf)) {
      const group = await groupOf(volume);
      await putBack(volume, group, beforeName(volume.lv), `cannot give disk '${volume.disk}' back what it held`);
    }
  },

  async forget(disks) {
    for (const volume of disks.map(volumeOf)) {
      const kept = beforeName(volume.lv);
      if ((await groupOf(volume)).has(kept)) await remove(volume, kept);
    }
  },

  async leftovers(disk) {
    const volume = volumeOf({ disk });
    const { vg, lv } = volume;
    const group = await groupOf(volume);
    const away = replacedName(lv);
    if (group.has(away) && !group.has(lv)) return [{ kind: 'away', place: placeOf(vg, away) }];
    const removal = (name: string) => ['lvremove', '-y', '--', `${vg}/${name}`];
    const scrap = [away, freshName(lv)].filter((name) => group.has(name));
    const kept = [beforeName(lv)].filter((name) => group.has(name));
    return [
      ...scrap.map((name) => ({ kind: 'scrap' as const, place: placeOf(vg, name), removal: removal(name) })),
      ...kept.map((name) => ({
        kind: 'kept' as const,
        place: placeOf(vg, name),
        putBack: ['lvconvert', '--merge', '--', `${vg}/${name}`],
        removal: removal(name),
      })),
    ];
  },
};

/** Of a thick volume: the merge writes what the snapshot holds, and no more, so that no more has to be kept. */
function keptBytes(group: Group, volume: LogicalVolume, name: string): number {
  const snapshot = group.get(snapshotName(volume, name));
  // Undefined if an interrupted revert has used it up: it is taken again, and holds nothing.
  const { lv_size = '0', data_percent = '' } = snapshot ?? {};
  return Math.ceil((Number(lv_size) * (Number(data_percent) + PERCENT_STEP)) / 100) + EMPTY_SNAPSHOT_BYTES;
}

function placeOf(vg: string, lv: string): string {
  return `volume '${vg}/${lv}'`;
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
