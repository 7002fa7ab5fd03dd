/** What a merged overlay's path shows from the merge until nothing names it any more: its base's contents. */

import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemError } from '../../errors.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { imageInfo } from '../qemu/image-info.ts';
import { holdsData, isBlockDevice, makeOverlay } from './overlays.ts';

/** More than the tables of an empty overlay of any size: its extents need not be listed. */
const EMPTY_BYTES = 16 << 20;

/** True for an overlay that has been merged and emptied, and for one that nothing was ever written to. Reads only. */
export async function isEmptied(image: DiskImage): Promise<boolean> {
  return (await imageInfo(image)).allocatedBytes <= EMPTY_BYTES && !(await holdsData(image));
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
  readonly #prepared: string | undefined;

  private constructor(layer: LayerCommit, bytes: number, prepared: string | undefined) {
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
    const prepared = new EmptyOverlay(layer, virtualBytes, path);
    // An earlier merge may have been cut off.
    await prepared[Symbol.asyncDispose]();
    await makeOverlay({ ...top, path, disk, reuse: false }, { ...base, bytes: virtualBytes }, top.path);
    return prepared;
  }

  /** To be called when the data is in the base, durably, and nobody has the overlay open. Idempotent, and durable. */
  async takePlace(): Promise<void> {
    const { disk, top, base } = this.#layer;
    if (this.#prepared === undefined) {
      await makeOverlay({ ...top, disk, reuse: true }, { ...base, bytes: this.#bytes });
      return;
    }
    try {
      await rename(this.#prepared, top.path);
      await using folder = await open(dirname(top.path), 'r');
      await folder.sync();
    } catch (error) {
      throw systemError(error, `image '${top.path}' of disk '${disk}' is merged and cannot be emptied`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#prepared !== undefined) await rm(this.#prepared, { force: true });
  }
}
