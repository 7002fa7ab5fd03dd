/** Refuses captures that the domain's storage cannot do (the qemu driver's qemuSnapshotPrepare, for Xen's backends). */

import { LibvirtError } from '../../errors.ts';
import type { DomainDisk } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { checkReadable, checkServedHere } from '../image-rules.ts';
import { checkBasePath, checkImagePath, checkMemoryPath } from '../name-rules.ts';
import type { CompleteSnapshot } from './plan.ts';

/** Refuses with code 67 or 84 what cannot be captured, naming the disk. Nothing is ever left out silently. */
export function checkCapture(snapshot: CompleteSnapshot): void {
  const { memory } = snapshot;
  const { disks } = snapshot.domain;
  checkServedHere(snapshot);
  const captured = { internal: 0, external: 0, refusedInternal: 0 };
  for (const disk of disks) {
    const location = snapshot.disks.find(({ name }) => name === disk.target)?.location ?? 'no';
    if (location === 'internal' || location === 'external') checkReadable(disk);
    switch (location) {
      case 'internal':
        checkInternal(disk);
        captured.internal += 1;
        break;
      case 'external':
        checkExternal(snapshot, disk);
        captured.external += 1;
        break;
      case 'manual':
        throw new LibvirtError(
          'OPERATION_UNSUPPORTED',
          `'manual' snapshot mode of disk '${disk.target}' is not supported`,
        );
      default:
        if (disk.hasSource && !disk.readonly) captured.refusedInternal += 1;
    }
  }
  if (memory.location === 'external') checkMemoryPath(memory.file);
  for (const { name, location, target } of snapshot.disks) {
    if (location !== 'external' || target?.path === undefined) continue;
    const overlay = { disk: name, path: target.path };
    checkImagePath('overlay', overlay, snapshot.domain, `choose another one, --diskspec ${name},file=/PATH`);
  }
  const memoryInternal = memory.location === 'internal';
  if (captured.internal + captured.external === 0 && memory.location === 'no') {
    throw unsupported('nothing selected for snapshot');
  }
  // A guest without any writable disk is its RAM alone, which Xen saves apart from the disks: that is a full snapshot.
  if ((memoryInternal || captured.internal > 0) && captured.refusedInternal > 0) {
    throw unsupported('internal and full system snapshots require all disks to be selected for snapshot');
  }
  if (snapshot.state === 'disk-snapshot' && captured.internal + captured.external === 0) {
    throw unsupported('disk-only snapshots require at least one disk to be selected for snapshot');
  }
}

/**
 * Internal snapshots are inside qcow2 images that QEMU serves (qdisk), or belong to the volume if libxl serves a block
 * device itself (phy): whether that storage has snapshots, its backend decides. libvirt's words for any other format.
 */
function checkInternal(disk: DomainDisk): void {
  const format = disk.format ?? 'raw';
  if (disk.type === 'block' && format === 'raw' && (disk.driver ?? 'phy') === 'phy') return;
  if (format !== 'qcow2') {
    throw unsupported(`internal snapshot for disk ${disk.target} unsupported for storage type ${format}`);
  }
  if (disk.type !== 'file' && disk.type !== 'block') {
    throw unsupported(`internal snapshot for disk ${disk.target} unsupported on a '${disk.type}' source`);
  }
}

/** Overlays are qcow2, whatever format the base has. */
function checkExternal(snapshot: SnapshotDef, disk: DomainDisk): void {
  const { format = 'qcow2', type = 'file' } = snapshot.disks.find(({ name }) => name === disk.target)?.target ?? {};
  if (format !== 'qcow2') {
    throw unsupported(`external snapshot format for disk ${disk.target} is unsupported: ${format}`);
  }
  if (type !== 'file' && type !== 'block') {
    throw unsupported(`external snapshot for disk ${disk.target} unsupported on a '${type}' target`);
  }
  if (disk.type !== 'file' && disk.type !== 'block') {
    throw unsupported(`external snapshot for disk ${disk.target} unsupported on a '${disk.type}' source`);
  }
  if (disk.shareable)
    throw unsupported(`external snapshot of disk ${disk.target}, which is shareable, is not supported`);
  if (disk.path !== undefined) checkBasePath({ disk: disk.target, path: disk.path });
}

function unsupported(detail: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', detail);
}
