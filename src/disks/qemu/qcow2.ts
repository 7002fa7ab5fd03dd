/** qcow2 images and the internal snapshots in them, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { readChain } from '../chain/chains.ts';
import { requireReadable } from '../chain/require-readable.ts';
import { runProgram } from '../program.ts';
import type { StorageBackend } from '../storage-backend.ts';
import { QCOW2_BEFORE_REVERT } from './before-revert.ts';
import { imageOf, requireChangeable } from './image-info.ts';
import { QCOW2_IN_QEMU } from './qcow2-in-qemu.ts';
import { openRefusal, revertRefusal } from './qcow2-refusals.ts';
import {
  applySnapshot,
  createSnapshots,
  deleteSnapshots,
  findSnapshot,
  requireSnapshot,
  snapshotsIn,
} from './qcow2-snapshots.ts';
import { hasBackingImage, type TableSnapshot } from './qcow2-table.ts';
import { QEMU_IMG } from './qemu-img.ts';

/** qemu-img itself refuses an image that another QEMU writes to. */
export const QCOW2: StorageBackend = {
  name: 'qcow2',
  programs: [QEMU_IMG],
  location: 'internal',
  servedBy: 'qdisk',
  qemu: QCOW2_IN_QEMU,

  async refusal({ format }) {
    return format === 'qcow2' ? undefined : `for storage type ${format ?? 'unknown'}`;
  },

  async checkFree(name, disks) {
    for (const { disk } of disks) {
      if (await findSnapshot(disk, name)) {
        const text = `disk '${disk.vdev}' already has an internal snapshot '${name}' in '${disk.pdev_path}': choose another name`;
        throw new LibvirtError('OPERATION_FAILED', text);
      }
      await refuseUnrevertible(disk, 'CONFIG_UNSUPPORTED');
    }
  },

  async create(name, disks) {
    return await createSnapshots(name, disks);
  },

  async check(name, disks, open) {
    for (const { disk } of disks) {
      await refuseUnrevertible(disk, 'OPERATION_INVALID', await requireSnapshot(disk, name, 'OPERATION_INVALID'));
    }
    for (const { disk } of disks) {
      // Without a backing image, that the snapshot was found is enough: the guest has the image open.
      const { path } = imageOf(disk);
      if (!open.has(path) || (await hasBackingImage(path))) await requireReadable(disk, open);
    }
  },

  async revert(name, disks) {
    for (const snapshot of disks) await applySnapshot(snapshot, name);
  },

  before: QCOW2_BEFORE_REVERT,

  async checkDelete(disk, names, open) {
    if (!(await snapshotsIn(disk)).some(({ name }) => names.includes(name))) return;
    const image = imageOf(disk);
    const reason = await openRefusal(image.path);
    if (reason !== undefined) throw new LibvirtError('OPERATION_INVALID', `disk '${disk.vdev}': ${reason}`);
    if (open.has(image.path)) return;
    const failure = `cannot delete snapshots of disk '${disk.vdev}'`;
    await requireChangeable(image, failure);
    // qemu-img opens the whole chain.
    const { broken } = await readChain(image);
    if (broken) throw new LibvirtError('OPERATION_INVALID', `${failure}: ${broken.error.detail}`);
  },

  async delete(name, disks) {
    await deleteSnapshots(name, disks);
  },

  /** Id and time of its entry in the image's table. */
  async fingerprint(name, { disk }) {
    return (await findSnapshot(disk, name))?.identity ?? 'none';
  },

  async list(disk) {
    const snapshots = await snapshotsIn(disk);
    return snapshots.map(({ name }) => ({ snapshot: name, place: imageOf(disk).path, isOurs: false }));
  },

  async captured(name, { disk }) {
    const { id } = await requireSnapshot(disk, name, 'OPERATION_FAILED');
    return { image: imageOf(disk), snapshotId: id };
  },
};

/** Refuses an image that no internal snapshot can be put back into, or not this one. */
async function refuseUnrevertible(
  disk: LibxlDeviceDisk,
  code: 'CONFIG_UNSUPPORTED' | 'OPERATION_INVALID',
  snapshot?: TableSnapshot,
): Promise<void> {
  const reason = await revertRefusal(imageOf(disk).path, snapshot);
  if (reason !== undefined) throw new LibvirtError(code, `disk '${disk.vdev}': ${reason}`);
}

/** A new empty image. Refuses to replace a file. */
export async function createQcow2Image(path: string, bytes: number): Promise<void> {
  try {
    // Exclusive, then filled: qemu-img itself would overwrite.
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    throw systemError(error, `cannot create file '${path}'`);
  }
  try {
    await runProgram(QEMU_IMG, ['create', '-q', '-f', 'qcow2', path, String(bytes)], `cannot create image '${path}'`);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}
