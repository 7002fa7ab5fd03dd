/** What a merged overlay's path shows from the merge until nothing names it any more: its base's contents. */

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asLibvirtError, isLibvirtError, systemError } from '../../errors.ts';
import { type MadeFile, removeSame } from '../../files/made-file.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { imageInfo } from '../qemu/image-info.ts';
import { makeOverlay } from './make-overlay.ts';
import { holdsData, isBlockDevice } from './overlays.ts';

/** More than the tables of an empty overlay of any size: its extents need not be listed. */
const EMPTY_BYTES = 16 << 20;

/** QEMU lets nobody read an image that one of its jobs has merged, until the job is dismissed (BLK_PERM_CONSISTENT_READ). */
const HELD_BY_COMMIT = 'Failed to get "consistent read" lock';

/** True for an overlay that has been merged and emptied, and for one that nothing was ever written to. Reads only. */
export async function isEmptied(image: DiskImage): Promise<boolean> {
  if ((await imageInfo(image)).allocatedBytes > EMPTY_BYTES) return false;
  try {
    return !(await holdsData(image));
  } catch (error) {
    if (asLibvirtError(error).detail.includes(HELD_BY_COMMIT)) return false;
    throw error;
  }
}

/**
 * An overlay without data, to take the place of one that has been merged into its base. Until the domain's definitions name
 * the base, a guest that is started again must not read what it has overwritten in the base since. It is made before the
 * merge: taking the place needs no space.
 */
export class EmptyOverlay implements AsyncDisposable {
  readonly #layer: LayerCommit;
  readonly #bytes: number;
  /** Undefined for an overlay on a block device, which is made in its place. */
  readonly #prepared: MadeFile | undefined;

  #inPlace = false;

  private constructor(layer: LayerCommit, bytes: number, prepared: MadeFile | undefined) {
    this.#layer = layer;
    this.#bytes = bytes;
    this.#prepared = prepared;
  }

  /** Changes nothing about the layer; what was prepared goes when the result is disposed of. */
  static async prepare(layer: LayerCommit): Promise<EmptyOverlay> {
    const { disk, top, base } = layer;
    const { virtualBytes } = await imageInfo(top);
    if (await isBlockDevice(top.path)) return new EmptyOverlay(layer, virtualBytes, undefined);
    const name = createHash('sha256').update(top.path).digest('hex').slice(0, 16);
    const path = join(dirname(top.path), `.xlsnap-merged-${name}`);
    // An earlier merge may have been cut off.
    await rm(path, { force: true });
    const overlay = { ...top, path, disk, reuse: false };
    return new EmptyOverlay(
      layer,
      virtualBytes,
      await makeOverlay(overlay, { ...base, bytes: virtualBytes }, top.path),
    );
  }

  /** To be called when the data is in the base, durably, and nobody has the overlay open. Idempotent, and durable. */
  async takePlace(): Promise<void> {
    const { disk, top, base } = this.#layer;
    if (this.#prepared === undefined) {
      await using _made = await makeOverlay({ ...top, disk, reuse: true }, { ...base, bytes: this.#bytes });
      return;
    }
    try {
      await this.#prepared.rename(top.path);
      this.#inPlace = true;
    } catch (error) {
      const cause = isLibvirtError(error) ? new Error(error.detail, { cause: error }) : error;
      throw systemError(cause, `image '${top.path}' of disk '${disk}' is merged and cannot be emptied`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#prepared === undefined) return;
    await this.#prepared[Symbol.asyncDispose]();
    if (!this.#inPlace) await removeSame(this.#prepared.at);
  }
}
