/** Snapshots of the disks of a domain that is not active, on every kind of storage. */

import { hasReason } from '../errors.ts';
import type { BackingChain, DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { StartFile } from '../model/domain.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { allOrNothing, revertEach } from './all-or-nothing.ts';
import { type DiskGroup, groupByBackend, usableGroups } from './backends.ts';
import { readChains } from './chain/chains.ts';
import { fileKey } from './file-key.ts';
import { forEachLayer, type LayersWatch } from './overlays/commit-progress.ts';
import { isEmptied } from './overlays/empty-overlay.ts';
import { checkMerge } from './overlays/merge-rules.ts';
import { commitOffline } from './overlays/offline-commit.ts';
import { imageExists, rebaseHeader, removeImage } from './overlays/overlays.ts';
import { imageInfo } from './qemu/image-info.ts';
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
    const targets = (group: DiskGroup) => group.disks.map(({ disk }) => disk.vdev);
    await revertEach(await groupByBackend(disks), targets, (group) => group.backend.revert(name, group.disks));
  }

  async undoApply(disks: readonly LibxlDiskSnapshot[]): Promise<boolean> {
    let undone = false;
    for (const { backend, disks: group } of await groupByBackend(disks)) {
      if (await backend.undoRevert?.(group)) undone = true;
    }
    return undone;
  }

  async delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    for (const group of await groupByBackend(disks)) await group.backend.delete(name, group.disks);
  }

  async check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    for (const group of await usableGroups(disks)) await group.backend.check(name, group.disks, open);
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
