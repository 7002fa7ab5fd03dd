/** The errors by which a delete refuses to merge or remove images; each names the disk, the image and the way out. */

import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';

/** An image of the snapshot does not exist. */
export function imageMissing({ name }: SnapshotDef, disk: string, image: string): LibvirtError {
  return new LibvirtError(
    'OPERATION_INVALID',
    `${image} of disk '${disk}' and snapshot '${name}' is missing: bring it back (is its file system mounted?), ` +
      'or forget the snapshot with --metadata',
  );
}

/** The user has redefined the snapshot, or put another file in the overlay's place: that file may still be wanted. */
export function notOnState({ name }: SnapshotDef, disk: string, { path }: DiskImage): LibvirtError {
  return new LibvirtError(
    'OPERATION_UNSUPPORTED',
    `deletion of external snapshot '${name}' would remove image '${path}' of disk '${disk}', whose base is not the ` +
      "snapshot's image: forget the snapshot with --metadata, which keeps all images",
  );
}

/** Merging into the base would change the other branches on it. */
export function severalBranches({ name }: SnapshotDef, disk: string, base: DiskImage): LibvirtError {
  return new LibvirtError(
    'OPERATION_UNSUPPORTED',
    `deletion of external snapshot '${name}' is not supported while several branches use image '${base.path}' of ` +
      `disk '${disk}': delete the snapshots of one branch first`,
  );
}

/** The user has given the domain other disks, or none: what was written into the overlay may still be wanted. */
export function disksParted(
  { name }: SnapshotDef,
  disk: string,
  tip: DiskImage | undefined,
  left: DiskImage,
): LibvirtError {
  const now = tip ? `disk '${disk}' of the domain is '${tip.path}' now` : `the domain has no disk '${disk}' any more`;
  return new LibvirtError(
    'OPERATION_UNSUPPORTED',
    `deletion of external snapshot '${name}' would remove or change image '${left.path}', which may be in use elsewhere: ` +
      `${now}. Give the disk back to the domain, or delete the snapshot with --metadata, which keeps all images`,
  );
}
