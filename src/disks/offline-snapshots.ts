/** Snapshots of the disks of a domain that is not active, on every kind of storage. */

import { hasReason } from '../errors.ts';
import type { BackingChain, DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { StartFile } from '../model/domain.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { allOrNothing } from './all-or-nothing.ts';
import { groupByBackend, usableGroups } from './backends.ts';
import { readChains } from './chain/chains.ts';
import { fileKey } from './file-key.ts';
import { forEachLayer, type LayersWatch } from './overlays/commit-progress.ts';
import { isEmptied } from './overlays/empty-overlay.ts';
import { checkMerge } from './overlays/merge-rules.ts';
import { commitOffline } from './overlays/offline-commit.ts';
import { imageExists, rebaseHeader, removeImage } from './overlays/overlays.ts';
import { imageInfo } from './qemu/image-info.ts';
import { checkRoomBefore, revertDisks, type SettledRevert, settleRevert } from './revert-disks.ts';
import { requireStartFiles } from './start-files.ts';

/** The policy's OfflineDisks. */
export class OfflineImages {
  async create(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    await this.checkFree(name, disks);
    await allOrNothing(await groupByBackend(disks), (group) => group.backend.create(name, group.disks, open));
  }

  fileKey(path: string): Promise<string> {
    return fileKey(path);
  }

  async checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const group of await usableGroups(disks)) await group.backend.checkFree(name, group.disks);
  }

  async apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    await revertDisks(name, await groupByBackend(disks));
  }

  async settleApply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<SettledRevert | undefined> {
    return await settleRevert(name, await groupByBackend(disks));
  }

  async delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const group of await groupByBackend(disks)) await group.backend.delete(name, group.disks);
  }

  async check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    for (const group of await usableGroups(disks)) await group.backend.check(name, group.disks, open);
  }

  async checkApply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    await checkRoomBefore(name, await groupByBackend(disks));
  }

  async checkStart(files: readonly StartFile[]): Promise<void> {
    await requireStartFiles(files);
  }

  async commit(layers: readonly LayerCommit[], job: LayersWatch): Promise<void> {
    await forEachLayer(layers, job, async (layer, watch) => {
      if (await imageExists(layer.top.path)) await commitOffline(layer, watch);
      await watch.merged(layer);
    });
  }

  chains(images: readonly DiskImage[]): Promise<readonly BackingChain[]> {
    return readChains(images);
  }

  checkMerge(layers: readonly LayerCommit[], open: ReadonlySet<string>): Promise<void> {
    return checkMerge(layers, open);
  }

  async isEmptied(image: DiskImage): Promise<boolean> {
    return (await imageExists(image.path)) && (await isEmptied(image));
  }

  async rebase(image: DiskImage, base: DiskImage): Promise<void> {
    await rebaseHeader(image, base, `cannot make '${base.path}' the backing image of '${image.path}'`);
  }

  /** Refuses an image that a QEMU has open: a guest may be writing to it. */
  async remove(images: readonly DiskImage[]): Promise<void> {
    for (const image of images) {
      await imageInfo(image, { share: false, failure: `cannot remove image '${image.path}'` }).catch((error) => {
        // Nobody has one open that is missing or damaged.
        if (hasReason(error, 'image-in-use')) throw error;
      });
      await removeImage(image.path);
    }
  }
}
