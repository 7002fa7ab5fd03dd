/** Which contents a disk's snapshot has, told without reading them. */

import { stat } from 'node:fs/promises';
import { systemError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { groupByBackend, type SnapshotBackend } from './backend.ts';
import { readSnapshotTable } from './qemu/qcow2-table.ts';

/** By the storage that has the snapshot. A volume's snapshot is told by its name alone: nobody else makes one of it. */
const IDENTITIES: Readonly<Record<SnapshotBackend, (snapshot: LibxlDiskSnapshot, name: string) => Promise<string>>> = {
  overlay: async ({ disk }) => frozenImage(disk.vdev, disk.pdev_path ?? ''),
  qcow2: internalSnapshot,
  lvm: async (_, name) => name,
  zfs: async (_, name) => name,
};

/**
 * A line per disk, the same as long as the snapshot's contents are: of an internal one id and time of its entry in the
 * image, of an external one size and time of the last change of the image beneath the overlay.
 */
export async function contentsOf(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<readonly string[]> {
  const groups = await groupByBackend(disks);
  const kinds = Object.keys(IDENTITIES) as SnapshotBackend[];
  const found = kinds.flatMap((kind) =>
    groups[kind].map(async (snapshot) => `${snapshot.disk.vdev} ${kind} ${await IDENTITIES[kind](snapshot, name)}`),
  );
  return (await Promise.all(found)).sort();
}

async function frozenImage(vdev: string, path: string): Promise<string> {
  try {
    const { size, mtimeNs } = await stat(path, { bigint: true });
    return `${size} ${mtimeNs}`;
  } catch (error) {
    throw systemError(error, `cannot look at image '${path}' of disk '${vdev}'`);
  }
}

async function internalSnapshot({ disk }: LibxlDiskSnapshot, name: string): Promise<string> {
  const path = disk.pdev_path ?? '';
  const snapshots = await readSnapshotTable(path, `cannot read image '${path}' of disk '${disk.vdev}'`);
  return snapshots.find((snapshot) => snapshot.name === name)?.identity ?? 'none';
}
