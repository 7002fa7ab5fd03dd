/** qcow2 images and the internal snapshots in them, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { LibvirtError, systemError } from '../errors.ts';
import type { DiskImage, LibxlDiskSnapshot } from '../model/libxl.ts';
import { type ImageSnapshot, imageInfo } from './image-info.ts';
import { runProgram } from './program.ts';
import { imageOptions, QEMU_IMG, syncFile } from './qemu-img.ts';
import { takeBack } from './take-back.ts';
import type { VolumeSnapshots } from './volume-snapshots.ts';

/** The first bytes of an image; its version follows (docs/interop/qcow2.txt of QEMU). */
const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');

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
      throw await takeBack(made, error);
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

  async check(name, disks, open) {
    for (const image of disks.map(imageOf)) {
      try {
        await requireSnapshot(image, name, open.has(image.path));
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

/** True for a file that begins as a qcow2 image of a version that QEMU knows; false for any other, and for none. Rejects for one that cannot be read. */
export async function isQcow2Image(path: string): Promise<boolean> {
  try {
    await using file = await open(path, 'r');
    const { buffer } = await file.read(Buffer.alloc(QCOW2_MAGIC.length + 4), 0);
    const version = buffer.readUInt32BE(QCOW2_MAGIC.length);
    return buffer.subarray(0, QCOW2_MAGIC.length).equals(QCOW2_MAGIC) && (version === 2 || version === 3);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw systemError(error, `cannot read image '${path}'`);
  }
}

function imageOf({ disk }: LibxlDiskSnapshot): Image {
  return { disk: disk.vdev, path: disk.pdev_path ?? '', format: 'qcow2' };
}

async function findSnapshot(image: Image, name: string, share = true): Promise<ImageSnapshot | undefined> {
  const failure = `cannot read image '${image.path}' of disk '${image.disk}'`;
  return (await imageInfo(image, { share, failure })).snapshots.find((snapshot) => snapshot.name === name);
}

/** `share`: also of an image that another QEMU writes to; without it, that is refused. */
async function requireSnapshot(image: Image, name: string, share = true): Promise<ImageSnapshot> {
  const found = await findSnapshot(image, name, share);
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
