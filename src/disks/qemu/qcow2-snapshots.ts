/** The internal snapshots in single qcow2 images: found in their own tables, changed by qemu-img. */

import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../../model/libxl.ts';
import { allOrNothing, type UndoStep } from '../all-or-nothing.ts';
import { runProgram } from '../program.ts';
import { imageOf } from './image-info.ts';
import { readSnapshotTable, type TableSnapshot } from './qcow2-table.ts';
import { imageOptions, QEMU_IMG, syncFile } from './qemu-img.ts';

/** All or nothing. Returns the steps that undo it. */
export async function createSnapshots(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<readonly UndoStep[]> {
  return await allOrNothing(disks, async ({ disk }) => {
    await changeSnapshots(disk, '-c', name, `cannot create internal snapshot '${name}'`);
    return [() => changeSnapshots(disk, '-d', name, `cannot delete internal snapshot '${name}' again`)];
  });
}

/** Skips images that do not have it. */
export async function deleteSnapshots(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  for (const { disk } of disks) {
    if (!(await findSnapshot(disk, name))) continue;
    await changeSnapshots(disk, '-d', name, `cannot delete internal snapshot '${name}'`);
  }
}

export async function applySnapshot({ disk }: LibxlDiskSnapshot, name: string): Promise<void> {
  const { id } = await requireSnapshot(disk, name, 'OPERATION_FAILED');
  // By id: for a name that is also another snapshot's id, qemu-img would take that other one.
  await changeSnapshots(disk, '-a', id, `cannot revert to internal snapshot '${name}'`);
}

export async function snapshotsIn(disk: LibxlDeviceDisk): Promise<readonly TableSnapshot[]> {
  const { path } = imageOf(disk);
  return await readSnapshotTable(path, `cannot read image '${path}' of disk '${disk.vdev}'`);
}

export async function findSnapshot(disk: LibxlDeviceDisk, name: string): Promise<TableSnapshot | undefined> {
  return (await snapshotsIn(disk)).find((snapshot) => snapshot.name === name);
}

export async function requireSnapshot(
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
export async function changeSnapshots(
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
