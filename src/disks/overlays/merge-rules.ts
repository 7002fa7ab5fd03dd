/** What a merge of overlays refuses, asked of all layers before the first of them is touched. */

import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { hasReason, LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { imageInfo, requireAccess, requireChangeable } from '../qemu/image-info.ts';
import { openRefusal } from '../qemu/qcow2-refusals.ts';
import { MergeSpace } from './merge-space.ts';
import { imageExists, isBlockDevice, refuseBitmapLoss, refuseSnapshotLoss } from './overlays.ts';

/**
 * Refuses layers, in the order in which they will be merged, that hold what a merge would lose, or that cannot be read,
 * written to, locked, removed or held by their bases. `open`: paths of the images that the domain's own device model has
 * open. A layer whose file is gone is done. Reads only.
 */
export async function checkMerge(layers: readonly LayerCommit[], open: ReadonlySet<string>): Promise<void> {
  const space = new MergeSpace();
  for (const layer of layers) if (await imageExists(layer.top.path)) await checkLayer(layer, open, space);
}

async function checkLayer(layer: LayerCommit, open: ReadonlySet<string>, space: MergeSpace): Promise<void> {
  const { disk, top, base, above } = layer;
  const failure = `cannot merge image '${top.path}' of disk '${disk}' into '${base.path}'`;
  for (const image of above ? [top, base, above] : [top, base]) await requireWritable(image, open, failure);
  const info = await imageInfo(top, { share: open.has(top.path), failure });
  refuseSnapshotLoss(disk, top.path, info.snapshots);
  refuseBitmapLoss(disk, top.path, info.bitmaps);
  const { virtualBytes } = await imageInfo(base, { share: open.has(base.path), failure });
  if (above) await imageInfo(above, { share: open.has(above.path), failure });
  const { R_OK, W_OK, X_OK } = constants;
  for (const { path } of above ? [base, above] : [base]) await requireAccess(path, R_OK | W_OK, failure);
  if (!(await isBlockDevice(top.path))) await requireAccess(dirname(top.path), W_OK | X_OK, failure);
  if (info.virtualBytes > virtualBytes && base.format === 'raw' && (await isBlockDevice(base.path))) {
    const text = `${failure}: it is a disk of ${info.virtualBytes} bytes, and '${base.path}' of ${virtualBytes}; enlarge that first`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  await space.take(layer, info);
}

/** Refuses a qcow2 image that QEMU would not open for changes. What a device model has open, it has opened so itself. */
async function requireWritable(image: DiskImage, open: ReadonlySet<string>, failure: string): Promise<void> {
  if (image.format !== 'qcow2' || open.has(image.path)) return;
  const reason = await openRefusal(image.path);
  if (reason !== undefined) throw new LibvirtError('OPERATION_INVALID', `${failure}: ${reason}`);
}

/** Refuses an image whose backing image could not be replaced in its header. `open`: as for checkMerge. Reads only. */
export async function checkRebase(image: DiskImage, open: ReadonlySet<string>): Promise<void> {
  const failure = `cannot change the backing image of '${image.path}'`;
  if (open.has(image.path)) await requireAccess(image.path, constants.R_OK | constants.W_OK, failure);
  else await requireChangeable(image, failure);
}

/**
 * Refuses an image that could not be removed, or that a QEMU has open: a guest may be writing to it. `open`: images that the
 * domain's own device model has open now, and no longer then. Reads only.
 */
export async function checkRemoval(image: DiskImage, open: ReadonlySet<string>): Promise<void> {
  const { path } = image;
  const found = await statIfThere(path);
  if (!found) return;
  const failure = `cannot remove image '${path}'`;
  if (found.isDirectory()) {
    const wayOut = shellCommand('mv', path, `${path}.folder`);
    throw new LibvirtError('OPERATION_INVALID', `${failure}: it is a folder; to move it away: ${wayOut}`);
  }
  if (!open.has(path)) await refuseInUse(image);
  if (!found.isBlockDevice()) await requireAccess(dirname(path), constants.W_OK | constants.X_OK, failure);
}

/** Refuses an image that a QEMU has open: a guest may be writing to it. Nobody has one open that is missing or damaged. */
export async function refuseInUse(image: DiskImage): Promise<void> {
  await imageInfo(image, { share: false, failure: `cannot remove image '${image.path}'` }).catch((error) => {
    if (hasReason(error, 'image-in-use')) throw error;
  });
}
