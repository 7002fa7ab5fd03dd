/** Snapshots of the disks of a domain that is not active, whatever storage they lie on. */

import { LibvirtError, undoAll } from '../errors.ts';
import type { DiskImage, LayerCommit } from '../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { groupByBackend, VOLUMES } from './backend.ts';
import { forEachLayer, type LayersWatch } from './overlays/commit-progress.ts';
import { commitOffline } from './overlays/offline-commit.ts';
import {
  checkOverlayFree,
  createOverlay,
  imageExists,
  overlayOf,
  rebaseHeader,
  removeImage,
  removeOverlay,
} from './overlays/overlays.ts';
import { imageChain, imageInfo } from './qemu/image-info.ts';
import { QCOW2 } from './qemu/qcow2.ts';
import { hasBackingImage } from './qemu/qcow2-table.ts';
import type { VolumeSnapshots } from './volumes/volume-snapshots.ts';

/** Internal snapshots, by who makes them. */
const INTERNAL: readonly (readonly ['qcow2' | 'lvm' | 'zfs', VolumeSnapshots])[] = [['qcow2', QCOW2], ...VOLUMES];

/** QEMU's words for an image that another one has open. */
const IN_USE = /Failed to get .*lock/;

/** The policy's OfflineDisks. */
export class OfflineImages {
  async create(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    await this.checkFree(name, disks);
    const groups = await groupByBackend(disks);
    const made: (() => Promise<void>)[] = [];
    try {
      for (const snapshot of groups.overlay) {
        const overlay = overlayOf(snapshot);
        await createOverlay(overlay, await baseOf(snapshot, open));
        made.push(() => removeOverlay(overlay));
      }
      for (const [kind, backend] of INTERNAL) {
        await backend.create(name, groups[kind]);
        made.push(() => backend.delete(name, groups[kind]));
      }
    } catch (error) {
      throw await undoAll(made, error);
    }
  }

  async checkFree(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    const groups = await groupByBackend(disks);
    for (const [kind, backend] of INTERNAL) await backend.checkFree(name, groups[kind]);
    for (const snapshot of groups.overlay) await checkOverlayFree(overlayOf(snapshot));
  }

  async apply(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    const groups = await groupByBackend(disks);
    for (const [kind, backend] of INTERNAL) await backend.apply(name, groups[kind]);
  }

  async delete(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    const groups = await groupByBackend(disks);
    for (const [kind, backend] of INTERNAL) await backend.delete(name, groups[kind]);
  }

  async check(name: string, disks: readonly LibxlDiskSnapshot[], open: ReadonlySet<string>): Promise<void> {
    const groups = await groupByBackend(disks);
    for (const [kind, backend] of INTERNAL) await backend.check(name, groups[kind], open);
    for (const snapshot of [...groups.overlay, ...groups.qcow2]) {
      const { disk, external } = snapshot;
      const image = imageOf(disk);
      try {
        // An internal snapshot, too, may need what lies beneath its image. Else there is nothing that check has not read.
        if (!external && open.has(image.path) && !(await hasBackingImage(image.path))) continue;
        const { broken } = await imageChain(image, { share: open.has(image.path) });
        if (broken) throw broken;
      } catch (error) {
        const text = `image '${image.path}' of disk '${disk.vdev}' cannot be used: ${(error as LibvirtError).detail}`;
        throw new LibvirtError('OPERATION_INVALID', text, { cause: error });
      }
    }
  }

  async commit(layers: readonly LayerCommit[], job: LayersWatch): Promise<void> {
    await forEachLayer(layers, job, async (layer, watch) => {
      if (await imageExists(layer.top.path)) await commitOffline(layer, watch);
    });
  }

  async chain(image: DiskImage, merged: ReadonlySet<string> = new Set()): Promise<readonly DiskImage[]> {
    const { layers, broken } = await imageChain(image);
    const chain = layers.map(({ path, format }) => ({ path, format }));
    if (!broken) return chain;
    const next = layers.at(-1)?.backing;
    if (next && merged.has(next.path) && !(await imageExists(next.path))) return [...chain, next];
    throw broken;
  }

  async rebase(image: DiskImage, base: DiskImage): Promise<void> {
    await rebaseHeader(image, base, `cannot make '${base.path}' the backing image of '${image.path}'`);
  }

  /** Refuses an image that a QEMU has open: a guest may be writing to it. */
  async remove(images: readonly DiskImage[]): Promise<void> {
    for (const image of images) {
      await imageInfo(image, { share: false, failure: `cannot remove image '${image.path}'` }).catch(
        (error: LibvirtError) => {
          // One that is missing or damaged nobody has open.
          if (IN_USE.test(error.detail)) throw error;
        },
      );
      await removeImage(image.path);
    }
  }
}

async function baseOf(
  { disk }: LibxlDiskSnapshot,
  open: ReadonlySet<string>,
): Promise<DiskImage & { readonly bytes: number }> {
  const image = imageOf(disk);
  // Also the lock's test: no other QEMU may write to what becomes a backing image.
  const failure = `cannot read image '${image.path}' of disk '${disk.vdev}'`;
  return { ...image, bytes: (await imageInfo(image, { share: open.has(image.path), failure })).virtualBytes };
}

function imageOf({ pdev_path = '', format = 'raw' }: LibxlDiskSnapshot['disk']): DiskImage {
  return { path: pdev_path, format };
}
