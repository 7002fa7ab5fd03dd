/** Which storage makes a disk's snapshots. */

import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../model/libxl.ts';
import { isBlockDevice } from './overlays/overlays.ts';
import { requireVolume } from './volumes/logical-volumes.ts';
import { LVM } from './volumes/lvm.ts';
import type { ListedVolumeSnapshots, VolumeSnapshot } from './volumes/volume-snapshots.ts';
import { ZFS, zvolOf } from './volumes/zfs.ts';

/** `overlay` is external; the others are internal snapshots. */
export type SnapshotBackend = 'overlay' | 'qcow2' | 'lvm' | 'zfs';

export const VOLUMES: readonly (readonly ['lvm' | 'zfs', ListedVolumeSnapshots])[] = [
  ['lvm', LVM],
  ['zfs', ZFS],
];

/** What QEMU serves: libxl's format to what can be had of it. */
const QDISK: Readonly<Partial<Record<NonNullable<LibxlDeviceDisk['format']>, readonly SnapshotBackend[]>>> = {
  qcow2: ['qcow2', 'overlay'],
  raw: ['overlay'],
};

/** The disks by the storage that makes their snapshots. Refuses (67) a disk that none can, naming it and the reason. */
export async function groupByBackend(
  disks: readonly LibxlDiskSnapshot[],
): Promise<Readonly<Record<SnapshotBackend, readonly LibxlDiskSnapshot[]>>> {
  const groups: Record<SnapshotBackend, LibxlDiskSnapshot[]> = { overlay: [], qcow2: [], lvm: [], zfs: [] };
  for (const snapshot of disks) {
    const found = await backendOf(snapshot);
    if ('refusal' in found) throw new LibvirtError('CONFIG_UNSUPPORTED', found.refusal);
    groups[found.backend].push(snapshot);
  }
  return groups;
}

/** Snapshots of ours that the disk's own volume has; none where the disk is on no volume, or it cannot be read. */
export async function volumeSnapshotsOf(disk: LibxlDeviceDisk): Promise<readonly VolumeSnapshot[]> {
  const found = await backendOf({ disk, name: '' });
  const volumes = VOLUMES.find(([kind]) => 'backend' in found && found.backend === kind)?.[1];
  return (await volumes?.list(disk).catch(() => [])) ?? [];
}

/** Why no snapshot of this kind can be made of the disk, for a message; undefined where one can. Touches nothing. */
export async function refusalOf(snapshot: LibxlDiskSnapshot): Promise<string | undefined> {
  const found = await backendOf(snapshot);
  return 'refusal' in found ? found.refusal : undefined;
}

async function backendOf(
  snapshot: LibxlDiskSnapshot,
): Promise<{ readonly backend: SnapshotBackend } | { readonly refusal: string }> {
  const { disk, external = false } = snapshot;
  const kind = external ? 'external' : 'internal';
  const refuse = (reason: string) => ({ refusal: `${kind} snapshot for disk ${disk.vdev} unsupported ${reason}` });
  if (disk.backend_domid || disk.backend_domname) {
    return refuse(`in driver domain '${disk.backend_domname ?? disk.backend_domid}'`);
  }
  if (disk.pdev_path === undefined) return { refusal: `disk '${disk.vdev}' has no image` };
  if (disk.script) return refuse(`with block script '${disk.script}'`);
  const backend = await servedBy(disk);
  if (backend === 'qdisk') {
    const format = disk.format ?? 'unknown';
    const wanted = external ? 'overlay' : 'qcow2';
    if (!QDISK[format]?.includes(wanted)) return refuse(`for storage type ${format}`);
    return { backend: wanted };
  }
  if (backend !== 'phy') return refuse(`for backend ${backend}: qdisk is needed (driver name='qemu')`);
  if (external) return refuse("for backend phy: qdisk is needed (driver name='qemu')");
  if (zvolOf(disk.pdev_path) !== undefined) return { backend: 'zfs' };
  try {
    await requireVolume(disk.pdev_path);
    return { backend: 'lvm' };
  } catch (error) {
    return refuse(`for backend phy, but on volumes of LVM and ZFS: ${asLibvirtError(error).detail}`);
  }
}

/** As libxl chooses where nothing is said (libxl__device_disk_set_backend): what is raw on a block device is phy. */
async function servedBy({ backend, format, pdev_path = '' }: LibxlDeviceDisk): Promise<string> {
  if (backend !== undefined && backend !== 'unknown') return backend;
  return format === 'raw' && (await isBlockDevice(pdev_path)) ? 'phy' : 'qdisk';
}
