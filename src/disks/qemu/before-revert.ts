/** What qcow2 images held before a revert of several disks: another internal snapshot in each. */

import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { ContentsBefore } from '../contents-before.ts';
import { imageOf } from './image-info.ts';
import { applySnapshot, createSnapshots, deleteSnapshots, findSnapshot } from './qcow2-snapshots.ts';

/** No snapshot of a domain has such a name. */
export const BEFORE_REVERT = '.xlsnap-before-revert';

/** What an internal snapshot takes: no data, but its tables, and clusters whose reference counts have to be written. */
const SNAPSHOT_BYTES = 4 << 20;

export const QCOW2_BEFORE_REVERT: ContentsBefore = {
  async checkRoom(_name, disks) {
    const needed = new Map<number, number>();
    for (const { disk } of disks) {
      const { path } = imageOf(disk);
      const found = await stat(path);
      if (!found.isFile()) continue;
      const bytes = (needed.get(found.dev) ?? 0) + SNAPSHOT_BYTES;
      needed.set(found.dev, bytes);
      const { bavail, bsize } = await statfs(path);
      if (bavail * bsize >= bytes) continue;
      const text = `no space to keep what image '${path}' of disk '${disk.vdev}' holds until all disks are reverted: ${Math.ceil(bytes / 2 ** 20)} MiB are needed, and ${Math.floor((bavail * bsize) / 2 ** 20)} MiB are free in '${dirname(path)}'`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
  },

  async keep(_name, disks) {
    await deleteSnapshots(BEFORE_REVERT, disks);
    await createSnapshots(BEFORE_REVERT, disks);
  },

  async find(snapshot) {
    const found = await findSnapshot(snapshot.disk, BEFORE_REVERT);
    return found && placeIn(imageOf(snapshot.disk).path);
  },

  async putBack(disks) {
    for (const snapshot of disks) await applySnapshot(snapshot, BEFORE_REVERT);
  },

  async forget(disks) {
    await deleteSnapshots(BEFORE_REVERT, disks);
  },

  async leftovers(disk) {
    if (!(await findSnapshot(disk, BEFORE_REVERT))) return [];
    const { path } = imageOf(disk);
    return [
      {
        kind: 'kept',
        place: placeIn(path),
        putBack: ['qemu-img', 'snapshot', '-a', BEFORE_REVERT, path],
        removal: ['qemu-img', 'snapshot', '-d', BEFORE_REVERT, path],
      },
    ];
  },
};

function placeIn(path: string): string {
  return `internal snapshot '${BEFORE_REVERT}' of '${path}'`;
}
