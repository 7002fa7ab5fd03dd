/** qcow2 images that no device model has open, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { LibvirtError, systemError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { type Program, runProgram } from './program.ts';

const QEMU_IMG: Program = { name: 'qemu-img', debianPackage: 'qemu-utils' };

/** The first bytes of an image; its version follows (docs/interop/qcow2.txt of QEMU). */
const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');

/** A disk's image, known to be meant as qcow2. */
interface Image {
  readonly disk: string;
  readonly path: string;
}

/** An entry of `snapshots` in `qemu-img info --output=json`. */
interface ImageSnapshot {
  readonly id: string;
  readonly name: string;
}

/** The policy's OfflineDisks. qemu-img itself refuses an image that another QEMU writes to. */
export class Qcow2Images {
  async create(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    await this.checkFree(name, disks);
    const images = disks.map(imageOf);
    const made: Image[] = [];
    try {
      for (const image of images) {
        await changeSnapshots(image, '-c', name, `cannot create internal snapshot '${name}'`);
        made.push(image);
      }
    } catch (error) {
      await takeBack(name, made, error);
      throw error;
    }
  }

  async checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const image of disks.map(imageOf)) {
      if (!(await findSnapshot(image, name))) continue;
      const text = `disk '${image.disk}' already has an internal snapshot '${name}' in '${image.path}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  }

  async apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const image of disks.map(imageOf)) {
      const { id } = await requireSnapshot(image, name);
      // By id: for a name that is also another snapshot's id, qemu-img would take that other one.
      await changeSnapshots(image, '-a', id, `cannot revert to internal snapshot '${name}'`);
    }
  }

  async delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const image of disks.map(imageOf)) {
      if (!(await findSnapshot(image, name))) continue;
      await changeSnapshots(image, '-d', name, `cannot delete internal snapshot '${name}'`);
    }
  }

  async check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    for (const image of disks.map(imageOf)) {
      try {
        await requireSnapshot(image, name, { share: open.has(image.path) });
      } catch (error) {
        throw new LibvirtError('OPERATION_INVALID', (error as LibvirtError).detail, { cause: error });
      }
    }
  }
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

/** True for a file that begins as a qcow2 image of a version that QEMU knows; false for any other, and for none. */
export async function isQcow2Image(path: string): Promise<boolean> {
  try {
    await using file = await open(path, 'r');
    const { buffer } = await file.read(Buffer.alloc(QCOW2_MAGIC.length + 4), 0);
    const version = buffer.readUInt32BE(QCOW2_MAGIC.length);
    return buffer.subarray(0, QCOW2_MAGIC.length).equals(QCOW2_MAGIC) && (version === 2 || version === 3);
  } catch {
    return false;
  }
}

function imageOf({ disk }: LibxlDiskSnapshot): Image {
  if (disk.format !== 'qcow2') {
    const text = `internal snapshot for disk ${disk.vdev} unsupported for storage type ${disk.format ?? 'raw'}`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  if (disk.pdev_path === undefined) {
    throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}' has no image`);
  }
  return { disk: disk.vdev, path: disk.pdev_path };
}

/** The format is stated, never probed: what a guest writes into a raw disk must not be read as an image header. */
function imageOptions({ path }: Image): readonly string[] {
  return ['--image-opts', `driver=qcow2,file.filename=${path.replaceAll(',', ',,')}`];
}

/** `share`: also of an image that another QEMU writes to; without it, that is refused. */
interface Sharing {
  readonly share: boolean;
}

async function imageSnapshots(image: Image, { share }: Sharing): Promise<readonly ImageSnapshot[]> {
  const args = ['info', ...(share ? ['-U'] : []), '--output=json', ...imageOptions(image)];
  const json = await runProgram(QEMU_IMG, args, `cannot read image '${image.path}' of disk '${image.disk}'`);
  return (JSON.parse(json) as { snapshots?: readonly ImageSnapshot[] }).snapshots ?? [];
}

async function findSnapshot(
  image: Image,
  name: string,
  sharing: Sharing = { share: true },
): Promise<ImageSnapshot | undefined> {
  return (await imageSnapshots(image, sharing)).find((snapshot) => snapshot.name === name);
}

async function requireSnapshot(image: Image, name: string, sharing?: Sharing): Promise<ImageSnapshot> {
  const found = await findSnapshot(image, name, sharing);
  if (found) return found;
  const text = `image '${image.path}' of disk '${image.disk}' has no internal snapshot '${name}'`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** On stable storage when it returns. */
async function changeSnapshots(image: Image, option: string, snapshot: string, failure: string): Promise<void> {
  const { disk, path } = image;
  const args = ['snapshot', option, snapshot, ...imageOptions(image)];
  await runProgram(QEMU_IMG, args, `${failure} of disk '${disk}' in '${path}'`);
  await using file = await open(path, 'r');
  await file.sync();
}

async function takeBack(name: string, made: readonly Image[], cause: unknown): Promise<void> {
  for (const image of made.toReversed()) {
    try {
      await changeSnapshots(image, '-d', name, `cannot delete internal snapshot '${name}' again`);
    } catch (error) {
      const text = `${(cause as LibvirtError).detail}; and it is left behind: ${(error as LibvirtError).detail}`;
      throw new LibvirtError('OPERATION_FAILED', text, { cause });
    }
  }
}
