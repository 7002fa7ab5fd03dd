/** qcow2 images and the internal snapshots in them, by qemu-img. */

import { open, rm } from 'node:fs/promises';
import { asLibvirtError, explained, LibvirtError, systemError, undoAll } from '../../errors.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../../model/libxl.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import { requireReadable } from '../chain/require-readable.ts';
import { runProgram } from '../program.ts';
import type { StorageBackend } from '../storage-backend.ts';
import { diskContents } from './disk-contents.ts';
import { imageOf } from './image-info.ts';
import { QCOW2_IN_QEMU } from './qcow2-in-qemu.ts';
import { revertRefusal } from './qcow2-refusals.ts';
import { hasBackingImage, readSnapshotTable, type TableSnapshot } from './qcow2-table.ts';
import { imageOptions, QEMU_IMG, syncFile } from './qemu-img.ts';

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
    return await allOrNothing(disks, async ({ disk }) => {
      await changeSnapshots(disk, '-c', name, `cannot create internal snapshot '${name}'`);
      return [() => changeSnapshots(disk, '-d', name, `cannot delete internal snapshot '${name}' again`)];
    });
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

  /** Of several images all or none: if one fails, those before it get back what they held. */
  async revert(name, disks) {
    const apply = (snapshot: LibxlDiskSnapshot) => applySnapshot(snapshot, name);
    if (disks.length === 1) await Promise.all(disks.map(apply));
    else await keepingContents(disks, apply);
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

/** No snapshot of a domain has such a name. One that a crash has left is removed by the next revert. */
const BEFORE_REVERT = '.xlsnap-before-revert';

/**
 * Reverts one image after the other. Until then their contents are kept in another internal snapshot: making that in every
 * image first also shows that each can be written to.
 */
async function keepingContents(
  disks: readonly LibxlDiskSnapshot[],
  apply: (snapshot: LibxlDiskSnapshot) => Promise<void>,
): Promise<void> {
  await QCOW2.delete(BEFORE_REVERT, disks);
  await QCOW2.create(BEFORE_REVERT, disks, new Set());
  const changed: LibxlDiskSnapshot[] = [];
  try {
    for (const snapshot of disks) {
      changed.push(snapshot);
      await apply(snapshot);
    }
  } catch (error) {
    const putBack = changed.map((snapshot) => () => applySnapshot(snapshot, BEFORE_REVERT));
    const failure = await undoAll(putBack, error);
    // Contents that could not be put back stay in their snapshot.
    if (failure !== error)
      throw explained(failure, `what the images held is in internal snapshot '${BEFORE_REVERT}' of each`);
    await forgetContents(disks);
    throw explained(error, 'all images hold what they held before');
  }
  await forgetContents(disks);
}

/** A snapshot that stays only takes space, until the next revert. */
async function forgetContents(disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  await QCOW2.delete(BEFORE_REVERT, disks).catch(() => undefined);
}

async function applySnapshot({ disk }: LibxlDiskSnapshot, name: string): Promise<void> {
  const { id } = await requireSnapshot(disk, name, 'OPERATION_FAILED');
  // By id: for a name that is also another snapshot's id, qemu-img would take that other one.
  await changeSnapshots(disk, '-a', id, `cannot revert to internal snapshot '${name}'`);
}

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

async function snapshotsIn(disk: LibxlDeviceDisk): Promise<readonly TableSnapshot[]> {
  const { path } = imageOf(disk);
  return await readSnapshotTable(path, `cannot read image '${path}' of disk '${disk.vdev}'`);
}

async function findSnapshot(disk: LibxlDeviceDisk, name: string): Promise<TableSnapshot | undefined> {
  return (await snapshotsIn(disk)).find((snapshot) => snapshot.name === name);
}

async function requireSnapshot(
  disk: LibxlDeviceDisk,
  name: string,
  code: 'OPERATION_FAILED' | 'OPERATION_INVALID',
): Promise<TableSnapshot> {
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
