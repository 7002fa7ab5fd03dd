/** External snapshots: the image stays as it is, and an overlay above it takes the further writes. */

import { stat } from 'node:fs/promises';
import { systemError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import { requireReadable } from '../chain/require-readable.ts';
import { imageInfo, imageOf } from '../qemu/image-info.ts';
import { QEMU_IMG } from '../qemu/qemu-img.ts';
import type { StorageBackend } from '../storage-backend.ts';
import { createOverlay, removeOverlay } from './make-overlay.ts';
import { OVERLAY_IN_QEMU } from './overlay-in-qemu.ts';
import { checkOverlayFree, overlayOf } from './overlays.ts';

/** Formats of the image that QEMU can put an overlay above. */
const BASE_FORMATS: ReadonlySet<string | undefined> = new Set(['qcow2', 'raw']);

/** External snapshots: overlays of any image. */
export const OVERLAY: StorageBackend = {
  name: 'overlay',
  programs: [QEMU_IMG],
  location: 'external',
  servedBy: 'qdisk',
  qemu: OVERLAY_IN_QEMU,

  async refusal({ format }) {
    return BASE_FORMATS.has(format) ? undefined : `for storage type ${format ?? 'unknown'}`;
  },

  async checkFree(_name, disks) {
    for (const snapshot of disks) await checkOverlayFree(overlayOf(snapshot));
  },

  async create(_name, disks, open) {
    return await allOrNothing(disks, async (snapshot) => {
      const overlay = overlayOf(snapshot);
      const created = await createOverlay(overlay, await baseOf(snapshot, open));
      return [() => removeOverlay(created)];
    });
  },

  async check(_name, disks, open) {
    for (const { disk } of disks) await requireReadable(disk, open);
  },

  /** Nothing: the contents are in the base, which the caller puts a new overlay above. */
  async revert() {},

  /** Nothing: an overlay is merged into its base, not deleted (offline-commit.ts). */
  async checkDelete() {},
  async delete() {},

  async list() {
    return [];
  },

  /** Size, and time of the last change, of the base. */
  async fingerprint(_name, { disk }) {
    const { path } = imageOf(disk);
    try {
      const { size, mtimeNs } = await stat(path, { bigint: true });
      return `${size} ${mtimeNs}`;
    } catch (error) {
      throw systemError(error, `cannot look at image '${path}' of disk '${disk.vdev}'`);
    }
  },

  async captured(_name, { disk }) {
    return { image: imageOf(disk) };
  },
};

async function baseOf(
  { disk }: LibxlDiskSnapshot,
  open: ReadonlySet<string>,
): Promise<DiskImage & { readonly bytes: number }> {
  const image = imageOf(disk);
  // Also tests the lock: no other QEMU may write to an image that becomes a base.
  const failure = `cannot read image '${image.path}' of disk '${disk.vdev}'`;
  return { ...image, bytes: (await imageInfo(image, { share: open.has(image.path), failure })).virtualBytes };
}
