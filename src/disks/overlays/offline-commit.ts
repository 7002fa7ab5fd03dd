/** Merges an overlay of an inactive domain's disk into its base, by qemu-img. */

import { LibvirtError } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { backingImage, isOverlayOf } from '../chain/chains.ts';
import { runLongProgram } from '../program.ts';
import { imageInfo } from '../qemu/image-info.ts';
import { imageOptions, QEMU_IMG, syncFile } from '../qemu/qemu-img.ts';
import type { CommitWatch } from './commit-progress.ts';
import { EmptyOverlay, isEmptied } from './empty-overlay.ts';
import { rebaseHeader, refuseSnapshotLoss } from './overlays.ts';

/** To open the images, which are regular files or block devices as they were checked: as long as `qemu-img info` has for it. */
const BEGIN_MS = 10_000;

/** `qemu-img -p`: first when all images are open. */
const PERCENT = /\((\d+(?:\.\d+)?)\/100%\)/g;

/**
 * Copies the data, then rewrites the header of the image above or, if there is none, empties the overlay: after an
 * interruption the same call completes it. A cancellation is honoured while data is copied; the images are then as before.
 */
export async function commitOffline(layer: LayerCommit, watch: CommitWatch): Promise<void> {
  const { disk, top, base, above } = layer;
  const failure = `cannot merge image '${top.path}' of disk '${disk}' into '${base.path}'`;
  if (above && (await isOverlayOf(above, base))) return;
  await checkLayer(layer, failure);
  if (!above && (await isEmptied(top))) return;
  await using empty = above ? undefined : await EmptyOverlay.prepare(layer);
  await copyDown(layer, failure, watch);
  await syncFile(base.path);
  if (above) await rebaseHeader(above, base, failure);
  await empty?.takePlace();
}

async function checkLayer({ disk, top, base, above }: LayerCommit, failure: string): Promise<void> {
  refuseSnapshotLoss(disk, top.path, (await imageInfo(top, { share: false, failure })).snapshots);
  for (const [image, expected] of [[top, base] as const, ...(above ? [[above, top] as const] : [])]) {
    if (await isOverlayOf(image, expected)) continue;
    const backing = await backingImage(image);
    const text = `${failure}: the backing image of '${image.path}' is '${backing?.path}', not '${expected.path}'`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
}

/** The format of the base is stated, not read from the header above it. `-d`: the overlay need not be emptied. */
async function copyDown({ top, base }: LayerCommit, failure: string, { signal, progress }: CommitWatch): Promise<void> {
  const options = `${imageOptions(top)},${imageOptions(base, 'backing.')}`;
  const total = (await imageInfo(top, { failure })).allocatedBytes;
  await runLongProgram(QEMU_IMG, ['commit', '-d', '-p', '--image-opts', options], failure, {
    signal,
    beginMs: BEGIN_MS,
    output: (text) => {
      const percent = [...text.matchAll(PERCENT)].at(-1)?.[1];
      if (percent !== undefined) progress(Math.round((total * Number(percent)) / 100), total);
    },
  });
}
