/** qcow2 images and the internal snapshots in them, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { asLibvirtError, LibvirtError, systemError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import { runProgram } from '../program.ts';
import type { StorageBackend } from '../storage-backend.ts';
import { diskContents } from './disk-contents.ts';
import { type ImageSnapshot, imageOf, requireReadable } from './image-info.ts';
import { QCOW2_IN_QEMU } from './qcow2-in-qemu.ts';
import { hasBackingImage, readSnapshotTable } from './qcow2-table.ts';
import { imageOptions, QEMU_IMG, syncFile } from './qemu-img.ts';

/** qemu-img itself refuses an image that another QEMU writes to. */
export const QCOW2: StorageBackend = {
  name: 'qcow2',
  location: 'internal',
  servedBy: 'qdisk',
  qemu: QCOW2_IN_QEMU,

  async refusal({ format }) {
    return format === 'qcow2' ? undefined : `for storage type ${format ?? 'unknown'}`;
  },

  async checkFree(name, disks) {
    for (const { disk } of disks) {
      if (!(await findSnapshot(disk, name))) continue;
      const text = `disk '${disk.vdev}' already has an internal snapshot '${name}' in '${disk.pdev_path}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  async create(name, disks) {
    return await allOrNothing(disks, async ({ disk }) => {
      await changeSnapshots(disk, '-c', name, `cannot create internal snapshot '${name}'`);
      return [() => changeSnapshots(disk, '-d', name, `cannot delete internal snapshot '${name}' again`)];
    });
  },

  async check(name, disks, open) {
    for (const { disk } of disks) await requireSnapshot(disk, name, 'OPERATION_INVALID');
    for (const { disk } of disks) {
      // Without a backing image, that the snapshot was found is enough: the guest has the image open.
      const { path } = imageOf(disk);
      if (!open.has(path) || (await hasBackingImage(path))) await requireReadable(disk, open);
    }
  },

  async revert(name, disks) {
    for (const { disk } of disks) {
      const { id } = await requireSnapshot(disk, name, 'OPERATION_FAILED');
      // By id: for a name that is also another snapshot's id, qemu-img would take that other one.
      await changeSnapshots(disk, '-a', id, `cannot revert to internal snapshot '${name}'`);
    }
  },

  async delete(name, disks) {
    for (const { disk } of disks) {
      if (!(await findSnapshot(disk, name))) continue;
      await changeSnapshots(disk, '-d', name, `cannot delete internal snapshot '${name}'`);
    }
  },

  /** Id and time of its entry in the image's table. */
  async fingerprint(name, { disk }) {
    return (await findSnapshot(disk, name))?.identity ?? 'none';
  },

  async list(disk) {
    const snapshots = await snapshotsIn(disk);
    return snapshots.map(({ name }) => ({ snapshot: name, place: imageOf(disk).path, isOurs: false }));
  },

  async contents(name, { disk }) {
    const { id } = await requireSnapshot(disk, name, 'OPERATION_FAILED');
    return diskContents(imageOf(disk), id);
  },
};

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

async function snapshotsIn(disk: LibxlDeviceDisk): Promise<readonly ImageSnapshot[]> {
  const { path } = imageOf(disk);
  return await readSnapshotTable(path, `cannot read image '${path}' of disk '${disk.vdev}'`);
}

async function findSnapshot(disk: LibxlDeviceDisk, name: string): Promise<ImageSnapshot | undefined> {
  return (await snapshotsIn(disk)).find((snapshot) => snapshot.name === name);
}

async function requireSnapshot(
  disk: LibxlDeviceDisk,
  name: string,
  code: 'OPERATION_FAILED' | 'OPERATION_INVALID',
): Promise<ImageSnapshot> {
  const found = await findSnapshot(disk, name).catch((error) => {
    throw new LibvirtError(code, asLibvirtError(error).detail, { cause: error });
  });
  if (found) return found;
  const text = `image '${disk.pdev_path}' of disk '${disk.vdev}' has no internal snapshot '${name}'`;
  throw new LibvirtError(code, text, { reason: 'snapshot-gone' });
}

/** On stable storage when it returns. */
async function changeSnapshots(
  disk: LibxlDeviceDisk,
  option: string,
  snapshot: string,
  failure: string,
): Promise<void> {
  const image = imageOf(disk);
  const args = ['snapshot', option, snapshot, '--image-opts', imageOptions(image)];
  await runProgram(QEMU_IMG, args, `${failure} of disk '${disk.vdev}' in '${image.path}'`);
  await syncFile(image.path);
}
