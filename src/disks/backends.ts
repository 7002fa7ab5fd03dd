/** All storage backends, and which of them a disk lies on. */

import { LibvirtError } from '../errors.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../model/libxl.ts';
import type { RevertLeftover } from './contents-before.ts';
import { OVERLAY } from './overlays/overlay-backend.ts';
import { isBlockDevice } from './overlays/overlays.ts';
import { requireProgram } from './program.ts';
import { QCOW2 } from './qemu/qcow2.ts';
import type { StorageBackend, StoredSnapshot } from './storage-backend.ts';
import { LVM } from './volumes/lvm.ts';
import { ZFS } from './volumes/zfs.ts';

/** The first one that does not refuse a disk takes it. Snapshots of several disks are made in this order, too. */
const BACKENDS: readonly StorageBackend[] = [ZFS, LVM, QCOW2, OVERLAY];

/** Disks on one storage backend. */
export interface DiskGroup {
  readonly backend: StorageBackend;
  readonly disks: readonly LibxlDiskSnapshot[];
}

/** The disks by backend, in the order of the table. Refuses (67) a disk that no backend takes, naming it and the reason. */
export async function groupByBackend(disks: readonly LibxlDiskSnapshot[]): Promise<readonly DiskGroup[]> {
  const backends = new Map<LibxlDiskSnapshot, StorageBackend>();
  for (const snapshot of disks) backends.set(snapshot, await backendOf(snapshot));
  return BACKENDS.map((backend) => ({
    backend,
    disks: disks.filter((snapshot) => backends.get(snapshot) === backend),
  })).filter((group) => group.disks.length > 0);
}

/** The disks of a group, each in a group of its own. */
export function eachAlone({ backend, disks }: DiskGroup): readonly DiskGroup[] {
  return disks.map((snapshot) => ({ backend, disks: [snapshot] }));
}

/** groupByBackend, which also refuses (55) a backend one of whose programs is not there. Starts none of them. */
export async function usableGroups(disks: readonly LibxlDiskSnapshot[]): Promise<readonly DiskGroup[]> {
  const groups = await groupByBackend(disks);
  for (const program of groups.flatMap(({ backend }) => backend.programs)) await requireProgram(program);
  return groups;
}

/** The backend that makes this snapshot. Refuses (67) a disk that none takes, naming it and the reason. */
export async function backendOf(snapshot: LibxlDiskSnapshot): Promise<StorageBackend> {
  const found = await find(snapshot);
  if ('refusal' in found) throw new LibvirtError('CONFIG_UNSUPPORTED', found.refusal);
  return found.backend;
}

/** Why no snapshot of this kind can be made of the disk, for a message; undefined if it can. Reads only. */
export async function refusalOf(snapshot: LibxlDiskSnapshot): Promise<string | undefined> {
  const found = await find(snapshot);
  return 'refusal' in found ? found.refusal : undefined;
}

/** The internal snapshots that the disk's storage has; none if no backend takes the disk, or it cannot be read. */
export async function storedSnapshots(disk: LibxlDeviceDisk): Promise<readonly StoredSnapshot[]> {
  const found = await find({ disk, name: '' });
  return 'backend' in found ? await found.backend.list(disk).catch(() => []) : [];
}

/** What earlier reverts have left on the disk's storage; nothing if no backend takes the disk, or it cannot be read. */
export async function revertLeftovers(disk: LibxlDeviceDisk): Promise<readonly RevertLeftover[]> {
  const found = await find({ disk, name: '' });
  const before = 'backend' in found ? found.backend.before : undefined;
  return (await before?.leftovers(disk).catch(() => [])) ?? [];
}

/** True if the disk's storage has an internal snapshot of this name. Rejects if that cannot be read. */
export async function hasSnapshot(disk: LibxlDeviceDisk, name: string): Promise<boolean> {
  const found = await find({ disk, name });
  return 'backend' in found && (await found.backend.list(disk)).some(({ snapshot }) => snapshot === name);
}

type Found = { readonly backend: StorageBackend } | { readonly refusal: string };

async function find({ disk, external = false }: LibxlDiskSnapshot): Promise<Found> {
  const location = external ? 'external' : 'internal';
  const refuse = (reason: string) => ({ refusal: `${location} snapshot for disk ${disk.vdev} unsupported ${reason}` });
  if (disk.backend_domid || disk.backend_domname) {
    return refuse(`in driver domain '${disk.backend_domname ?? disk.backend_domid}'`);
  }
  if (disk.pdev_path === undefined) return { refusal: `disk '${disk.vdev}' has no image` };
  if (disk.script) return refuse(`with block script '${disk.script}'`);
  const server = await servedBy(disk);
  const candidates = BACKENDS.filter((backend) => backend.servedBy === server && backend.location === location);
  if (candidates.length === 0) return refuse(`for backend ${server}: qdisk is needed (driver name='qemu')`);
  const reasons: string[] = [];
  for (const backend of candidates) {
    const reason = await backend.refusal(disk);
    if (reason === undefined) return { backend };
    reasons.push(reason);
  }
  return refuse(reasons.join(', and '));
}

/** As libxl chooses if nothing is said (libxl__device_disk_set_backend): a raw block device is phy. */
async function servedBy({ backend, format, pdev_path = '' }: LibxlDeviceDisk): Promise<string> {
  if (backend !== undefined && backend !== 'unknown') return backend;
  return format === 'raw' && (await isBlockDevice(pdev_path)) ? 'phy' : 'qdisk';
}
