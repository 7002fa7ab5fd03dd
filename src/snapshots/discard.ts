/** Takes a snapshot's data away: the parts inside disk images and the memory image. */

import { LibvirtError } from '../errors.ts';
import { type Domain, type DomainDisk, isActive } from '../model/domain.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import type { SnapshotDef } from '../model/snapshot.ts';
import { domainDisks } from '../xml/domain-disks.ts';
import type { SnapshotContext } from './context.ts';
import { capturedDisks } from './libxl-args.ts';

/**
 * Idempotent: what is already gone is no error. Refuses (84) where the domain runs on other images than the snapshot
 * was taken in, since those cannot be reached through its device model.
 */
export async function discardData(context: SnapshotContext, domain: Domain, snapshot: SnapshotDef): Promise<void> {
  const { host, images, memory } = context;
  const captured = capturedDisks(snapshot);
  if (captured.length > 0) {
    if (isActive(domain)) {
      checkSameImages(snapshot, captured, domainDisks(await host.definition(domain, 'live')));
      await host.deleteDiskSnapshots(domain, snapshot.name, captured);
    } else {
      await images.delete(snapshot.name, captured);
    }
  }
  await memory.remove(domain.ref, snapshot.name);
}

function checkSameImages(
  { name }: SnapshotDef,
  captured: readonly LibxlDiskSnapshot[],
  now: readonly DomainDisk[],
): void {
  for (const { disk, external } of captured) {
    if (external || disk.pdev_path === now.find(({ target }) => target === disk.vdev)?.path) continue;
    throw new LibvirtError(
      'OPERATION_UNSUPPORTED',
      `disk image '${disk.pdev_path ?? ''}' for internal snapshot '${name}' is not the same as disk image currently used by VM`,
    );
  }
}
