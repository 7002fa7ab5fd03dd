/** Snapshots of the disks of a domain that is not active, on every kind of storage. */

import { tryAll } from '../errors.ts';
import type { BackingChain, DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { StartFile } from '../model/domain.ts';
import type { InternalSnapshot, LibxlDiskSnapshot } from '../model/libxl.ts';
import { allOrNothing, deleteInTurn } from './all-or-nothing.ts';
import { eachAlone, groupByBackend, usableGroups } from './backends.ts';
import { readChains } from './chain/chains.ts';
import { fileKey, keysBelow } from './file-key.ts';
import { forEachLayer, type LayersWatch } from './overlays/commit-progress.ts';
import { isEmptied } from './overlays/empty-overlay.ts';
import { checkMerge, checkRebase, checkRemoval, refuseInUse } from './overlays/merge-rules.ts';
import { commitOffline } from './overlays/offline-commit.ts';
import { imageExists, rebaseHeader, removeImage } from './overlays/overlays.ts';
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

  keysBelow(path: string): Promise<ReadonlySet<string>> {
    return keysBelow(path);
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
    const single = (await groupByBackend(disks)).flatMap(eachAlone);
    await deleteInTurn(single, (part) => part.backend.delete(name, part.disks));
  }

  async checkDelete(doomed: readonly InternalSnapshot[], open: ReadonlySet<string>): Promise<void> {
    // Each disk is asked once: there may be hundreds of snapshots in it.
    const disks = [...new Map(doomed.map((each) => [each.disk.pdev_path, each])).values()];
    for (const group of await usableGroups(disks)) {
      for (const { disk } of group.disks) {
        const inDisk = doomed.filter((each) => each.disk.pdev_path === disk.pdev_path);
        const names = inDisk.map(({ name }) => name);
        await group.backend.checkDelete(disk, names, open);
      }
    }
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

  async checkRebase(images: readonly DiskImage[], open: ReadonlySet<string>): Promise<void> {
    for (const image of images) await checkRebase(image, open);
  }

  async checkRemoval(images: readonly DiskImage[], open: ReadonlySet<string>): Promise<void> {
    for (const image of images) await checkRemoval(image, open);
  }

  async isEmptied(image: DiskImage): Promise<boolean> {
    return (await imageExists(image.path)) && (await isEmptied(image));
  }

  async rebase(image: DiskImage, base: DiskImage): Promise<void> {
    await rebaseHeader(image, base, `cannot make '${base.path}' the backing image of '${image.path}'`);
  }

  /** Refuses an image that a QEMU has open: a guest may be writing to it. Removes the others all the same. */
  async remove(images: readonly DiskImage[]): Promise<void> {
    const removeOne = async (image: DiskImage): Promise<void> => {
      await refuseInUse(image);
      await removeImage(image.path);
    };
    await tryAll(images.map((image) => () => removeOne(image)));
  }
}
