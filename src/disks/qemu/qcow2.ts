/** qcow2 images and the internal snapshots in them, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { LibvirtError, systemError, undoAll } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { runProgram } from '../program.ts';
import type { VolumeSnapshots } from '../volumes/volume-snapshots.ts';
import type { ImageSnapshot } from './image-info.ts';
import { readSnapshotTable } from './qcow2-table.ts';
import { imageOptions, QEMU_IMG, syncFile } from './qemu-img.ts';

/** A disk's image. */
interface Image extends DiskImage {
  readonly disk: string;
}

/** Of images that no device model has open. qemu-img itself refuses one that another QEMU writes to. */
export const QCOW2: VolumeSnapshots = {
  async create(name, disks) {
    await QCOW2.checkFree(name, disks);
    const made: (() => Promise<void>)[] = [];
    try {
      for (const image of disks.map(imageOf)) {
        await changeSnapshots(image, '-c', name, `cannot create internal snapshot '${name}'`);
        made.push(() => changeSnapshots(image, '-d', name, `cannot delete internal snapshot '${name}' again`));
      }
    } catch (error) {
      throw await undoAll(made, error);
    }
  },

  async checkFree(name, disks) {
    for (const image of disks.map(imageOf)) {
      if (!(await findSnapshot(image, name))) continue;
      const text = `disk '${image.disk}' already has an internal snapshot '${name}' in '${image.path}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  async apply(name, disks) {
    for (const image of disks.map(imageOf)) {
      const { id } = await requireSnapshot(image, name);
      // By id: for a name that is also another snapshot's id, qemu-img would take that other one.
      await changeSnapshots(image, '-a', id, `cannot revert to internal snapshot '${name}'`);
    }
  },

  async delete(name, disks) {
    for (const image of disks.map(imageOf)) {
      if (!(await findSnapshot(image, name))) continue;
      await changeSnapshots(image, '-d', name, `cannot delete internal snapshot '${name}'`);
    }
  },

  async check(name, disks) {
    for (const image of disks.map(imageOf)) {
      try {
        await requireSnapshot(image, name);
      } catch (error) {
        throw new LibvirtError('OPERATION_INVALID', (error as LibvirtError).detail, { cause: error });
      }
    }
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

function imageOf({ disk }: LibxlDiskSnapshot): Image {
  return { disk: disk.vdev, path: disk.pdev_path ?? '', format: 'qcow2' };
}

async function findSnapshot({ path, disk }: Image, name: string): Promise<ImageSnapshot | undefined> {
  const snapshots = await readSnapshotTable(path, `cannot read image '${path}' of disk '${disk}'`);
  return snapshots.find((snapshot) => snapshot.name === name);
}

async function requireSnapshot(image: Image, name: string): Promise<ImageSnapshot> {
  const found = await findSnapshot(image, name);
  if (found) return found;
  const text = `image '${image.path}' of disk '${image.disk}' has no internal snapshot '${name}'`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** On stable storage when it returns. */
async function changeSnapshots(image: Image, option: string, snapshot: string, failure: string): Promise<void> {
  const { disk, path } = image;
  const args = ['snapshot', option, snapshot, '--image-opts', imageOptions(image)];
  await runProgram(QEMU_IMG, args, `${failure} of disk '${disk}' in '${path}'`);
  await syncFile(path);
}
