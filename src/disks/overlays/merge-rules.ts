/** What a merge of overlays refuses, asked of all layers before the first of them is touched. */

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { imageInfo } from '../qemu/image-info.ts';
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

async function requireAccess(path: string, mode: number, failure: string): Promise<void> {
  await access(path, mode).catch((error) => {
    throw systemError(error, `${failure}: '${path}' cannot be written to`);
  });
}
