/** Translates a `<domainsnapshot>` to libxl's parameters and libxl's result back: policy meets mechanism here. */

import { libxlDeviceDisk, libxlDiskFormat } from '../../model/device-disk.ts';
import type { DomainDisk } from '../../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { type DiskSnapshot, memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';

/**
 * Returns the parameters for domainSnapshotSave. Disks that are not part of the snapshot are left out. `memoryPath` is the
 * file for internal memory; external memory goes to the file that the snapshot names. `reuse`: the overlays already exist.
 */
export function toSnapshotArgs(
  snapshot: Pick<SnapshotDef, 'name' | 'memory' | 'disks'>,
  disks: readonly DomainDisk[],
  options: { readonly memoryPath: string; readonly live: boolean; readonly reuse: boolean },
): LibxlDomainSnapshotArgs {
  const taken = diskSnapshots(snapshot, disks);
  const args = { memory: false, disks: options.reuse ? reused(taken) : taken };
  const memory_path = memoryPathOf(snapshot, options.memoryPath);
  if (memory_path === undefined) return args;
  return { ...args, memory: true, memory_path, ...(options.live && { live: true }) };
}

/** Returns the same disks, marked so that existing overlays are used. */
export function reused(disks: readonly LibxlDiskSnapshot[]): readonly LibxlDiskSnapshot[] {
  return disks.map((disk) => (disk.external ? { ...disk, external_reuse: true } : disk));
}

/** Returns the disks that a stored snapshot captured, as its definition describes them. */
export function capturedDisks(snapshot: SnapshotDef): readonly LibxlDiskSnapshot[] {
  return snapshot.domain ? diskSnapshots(snapshot, snapshot.domain.disks) : [];
}

/** Those of the captured disks whose snapshots are inside their images or volumes. */
export function internalDisks(snapshot: SnapshotDef): readonly LibxlDiskSnapshot[] {
  return capturedDisks(snapshot).filter(({ external }) => !external);
}

/** Returns the part of each captured disk; leaves out those that `disks` does not have and those that are not captured. */
export function diskSnapshots(
  { name, disks: captured }: Pick<SnapshotDef, 'name' | 'disks'>,
  disks: readonly DomainDisk[],
): readonly LibxlDiskSnapshot[] {
  return captured.flatMap((snapshot) => {
    const disk = disks.find(({ target }) => target === snapshot.name);
    return disk ? diskSnapshot(name, snapshot, disk) : [];
  });
}

/** Returns one disk's part in the snapshot `name`, or an empty array if the disk is not captured. */
export function diskSnapshot(name: string, snapshot: DiskSnapshot, domainDisk: DomainDisk): LibxlDiskSnapshot | [] {
  const disk = libxlDeviceDisk(domainDisk);
  switch (snapshot.location) {
    case 'internal':
      return { disk, name };
    case 'external': {
      const { path, format = 'qcow2' } = snapshot.target ?? {};
      return {
        disk,
        external: true,
        external_format: libxlDiskFormat(format) ?? 'unknown',
        ...(path !== undefined && { external_path: path }),
      };
    }
    default:
      return [];
  }
}

/**
 * Returns `snapshot` with the paths of memory and overlays that the mechanism reports. Keeps everything else, which only
 * libvirt knows (state, parent, definitions, disks left out), and the time of the request.
 */
export function fromLibxlSnapshot(snapshot: SnapshotDef, result: LibxlDomainSnapshot): SnapshotDef {
  const found = new Map(result.disks?.map((disk) => [disk.disk.vdev, disk]));
  const disks = snapshot.disks.map((disk): DiskSnapshot => {
    const taken = found.get(disk.name);
    if (!taken) return disk;
    if (!taken.external) return { ...disk, location: 'internal' };
    const path = taken.path ?? taken.external_path;
    return { ...disk, location: 'external', target: { type: 'file', ...disk.target, ...(path && { path }) } };
  });
  const memory =
    result.memory && snapshot.memory.location === 'external' && result.memory_path
      ? { location: 'external' as const, file: result.memory_path }
      : snapshot.memory;
  return { ...snapshot, memory, disks };
}
