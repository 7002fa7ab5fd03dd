/** Space for merges: what an overlay holds, and its base has no place for yet, is added to the base's file or device. */

import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { type ImageInfo, imageInfo } from '../qemu/image-info.ts';
import { type Extent, imageExtents } from './overlays.ts';

/** The free bytes of the file systems that a row of merges uses, as they will be before each of them. */
export class MergeSpace {
  /** By device number. */
  readonly #free = new Map<number, number>();

  /** Refuses a merge for which the base's file system or device has no room. To be called for one layer after the other. */
  async take({ disk, top, base }: LayerCommit, info: ImageInfo): Promise<void> {
    const found = await stat(base.path);
    if (found.isBlockDevice() && base.format !== 'raw') await requireDeviceSpace({ disk, top, base });
    if (!found.isFile()) return;
    const free = await this.#freeOf(base.path, found.dev);
    // Listing extents takes longer than reading the size: it matters if space is short.
    const bytes = info.allocatedBytes <= free ? info.allocatedBytes : await growth({ top, base });
    if (bytes > free) {
      throw new LibvirtError(
        'OPERATION_FAILED',
        `no space to merge image '${top.path}' of disk '${disk}' into '${base.path}': it needs ${mib(bytes)} MiB more, and ` +
          `${mib(free)} MiB are free in '${dirname(base.path)}'`,
      );
    }
    this.#free.set(found.dev, free - bytes);
    const { dev } = await stat(top.path);
    this.#free.set(dev, (await this.#freeOf(top.path, dev)) + info.allocatedBytes);
  }

  async #freeOf(path: string, device: number): Promise<number> {
    const known = this.#free.get(device);
    if (known !== undefined) return known;
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize;
  }
}

/** A device does not grow. The base's own tables are not counted: what is refused could not succeed in any case. */
async function requireDeviceSpace({ disk, top, base }: LayerCommit): Promise<void> {
  const { virtualBytes: size } = await imageInfo({ path: base.path, format: 'raw' }, { share: true });
  const stored = (await imageExtents(base)).filter(({ data, offset }) => data && offset !== undefined);
  const held = stored.reduce((sum, { length }) => sum + length, 0);
  const more = await growth({ top, base });
  if (held + more <= size) return;
  throw new LibvirtError(
    'OPERATION_FAILED',
    `no space to merge image '${top.path}' of disk '${disk}' into '${base.path}': it needs ${mib(more)} MiB more, and the device ` +
      `has ${mib(size)} MiB, of which ${mib(held)} MiB are in use: enlarge it first`,
  );
}

/** Bytes that the base has no place for. */
async function growth({ top, base }: Pick<LayerCommit, 'top' | 'base'>): Promise<number> {
  const held = (await imageExtents(top)).filter(({ data }) => data);
  const placed = (await imageExtents(base)).filter(
    ({ data, offset }) => data || (base.format !== 'raw' && offset !== undefined),
  );
  let at = 0;
  let bytes = 0;
  for (const extent of held) {
    while (at < placed.length && end(placed[at]) <= extent.start) at += 1;
    bytes += extent.length;
    for (let next = at; next < placed.length && (placed[next]?.start ?? 0) < end(extent); next += 1) {
      bytes -= Math.min(end(extent), end(placed[next])) - Math.max(extent.start, placed[next]?.start ?? 0);
    }
  }
  return bytes;
}

function end(extent: Pick<Extent, 'start' | 'length'> | undefined): number {
  return (extent?.start ?? 0) + (extent?.length ?? 0);
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
