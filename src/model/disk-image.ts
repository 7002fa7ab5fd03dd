/** Image files of a domain's disks, and changes from one to another. */

import type { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from './libxl.ts';

/** An image file or block device, and QEMU's name of its format, which is stated and never probed. */
export interface DiskImage {
  readonly path: string;
  readonly format: string;
  /** A block device, as found or as a definition says; never guessed from the path. */
  readonly block?: true;
}

/** An image of a backing chain. */
export interface ChainLayer extends DiskImage {
  /** The same for all names of one file or device. */
  readonly key: string;
}

/** An image and its backing chain as QEMU would open them. At most one of `remote` and `broken` is set. */
export interface BackingChain {
  /** From the top, as far as they can be followed. */
  readonly layers: readonly ChainLayer[];
  /** Keys of other files and devices with data of these images: data files, and the disk that a partition is on. */
  readonly dataFiles: readonly string[];
  /** The backing image of the last layer, if it is not on this host: it is never written to. */
  readonly remote?: string;
  /** The image at which the chain cannot be followed, and why; a missing one has the reason `image-missing`, a folder `image-is-folder`. */
  readonly broken?: { readonly image: DiskImage; readonly error: LibvirtError };
}

/** An overlay to be merged into its backing image and then removed. */
export interface LayerCommit {
  /** `xvda`. */
  readonly disk: string;
  readonly top: DiskImage;
  readonly base: DiskImage;
  /** The overlay whose backing image is `top`; absent if `top` is the active image. */
  readonly above?: DiskImage;
  /** Images between `top` and `base`, from the top, which are merged with it. */
  readonly between?: readonly DiskImage[];
}

/** A disk whose active image changes. */
export interface Move {
  readonly disk: string;
  readonly from: DiskImage;
  readonly to: DiskImage;
}

/** Returns the change from the base to the overlay for each disk. */
export function movesOnto(disks: readonly LibxlDiskSnapshot[]): readonly Move[] {
  return disks.flatMap(({ disk, external, external_path, external_format = 'qcow2' }) => {
    if (!external || external_path === undefined || disk.pdev_path === undefined) return [];
    const from = { path: disk.pdev_path, format: disk.format === 'vhd' ? 'vpc' : (disk.format ?? 'raw') };
    return [{ disk: disk.vdev, from, to: { path: external_path, format: external_format } }];
  });
}

/** Returns the change from the overlay to the base for each layer: what its merge does to a disk that is on it. */
export function movesOff(layers: readonly LayerCommit[]): readonly Move[] {
  return layers.map(({ disk, top, base }) => ({ disk, from: top, to: base }));
}

/** Returns the moves that undo these. */
export function reversed(moves: readonly Move[]): readonly Move[] {
  return moves.map(({ disk, from, to }) => ({ disk, from: to, to: from }));
}
