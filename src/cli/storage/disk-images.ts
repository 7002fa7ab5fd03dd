/** Finds the images of a domain's disks: the active ones, those of its snapshots, and their backing chains. */

import { readChain } from '../../disks/chain/chains.ts';
import { type ImageInfo, imageInfo } from '../../disks/qemu/image-info.ts';
import { asLibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainFacts } from './domain-facts.ts';

/** An image file, as it was found. */
export interface FoundImage extends DiskImage {
  /** Absent if the image cannot be read; `problem` says why. */
  readonly info?: ImageInfo & { readonly backing?: DiskImage };
  readonly problem?: string;
  /** Creation time of the snapshot that created this overlay; 0 for an original image. */
  readonly begun: bigint;
}

/** All images of one disk: in the backing chains of the domain and of its snapshots. */
export interface ImagesOfDisk {
  /** `xvda`. */
  readonly target: string;
  /** Each image once. */
  readonly images: readonly FoundImage[];
  /** Path of the active image, or of the one that is active after the next start. */
  readonly active: string | undefined;
}

/** Returns disks in the domain's order; those that only snapshots have come last. */
export async function imagesOfDisks({ images, snapshots }: DomainFacts): Promise<readonly ImagesOfDisk[]> {
  const captured = snapshots.flatMap(({ disks }) => disks);
  const targets = new Set([...images.keys(), ...captured.map(({ target }) => target)]);
  return await Promise.all(
    [...targets].map(async (target): Promise<ImagesOfDisk> => {
      const now = images.get(target);
      const named = captured.filter((disk) => disk.target === target);
      const layers = named.flatMap(({ overlay }) => (overlay && !overlay.removed ? [overlay] : []));
      const tops = [...(now ? [now] : []), ...layers, ...named.map(({ image }) => image)];
      const begun = new Map(
        snapshots.flatMap(({ disks, creationTime }) =>
          disks.flatMap(({ overlay }) => (overlay ? [[overlay.path, creationTime] as const] : [])),
        ),
      );
      return { target, images: await collect(tops, begun), active: now?.path };
    }),
  );
}

async function collect(tops: readonly DiskImage[], begun: ReadonlyMap<string, bigint>): Promise<readonly FoundImage[]> {
  const found = new Map<string, FoundImage>();
  for (const top of tops) {
    if (found.has(top.path)) continue;
    const { layers, broken } = await readChain(top);
    for (const [index, { path, format }] of layers.entries()) {
      if (found.has(path)) continue;
      const backing = layers[index + 1] ?? broken?.image;
      const info = await imageInfo({ path, format }).catch(asLibvirtError);
      const known =
        info instanceof Error ? { problem: info.detail } : { info: { ...info, ...(backing && { backing }) } };
      add(found, { path, format, ...known }, begun);
    }
    if (broken) add(found, { ...broken.image, problem: broken.error.detail }, begun);
  }
  return [...found.values()];
}

function add(
  found: Map<string, FoundImage>,
  image: Omit<FoundImage, 'begun'>,
  begun: ReadonlyMap<string, bigint>,
): void {
  if (!found.has(image.path)) found.set(image.path, { ...image, begun: begun.get(image.path) ?? 0n });
}
