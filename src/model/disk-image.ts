/** Image files of a domain's disks, and how disks go from one to another. */

import type { LibxlDiskSnapshot } from './libxl.ts';

/** An image file or block device, and QEMU's name of its format: stated, never probed. */
export interface DiskImage {
  readonly path: string;
  readonly format: string;
}

/** An overlay to be merged into the image beneath it, and then removed. */
export interface LayerCommit {
  /** `xvda`. */
  readonly disk: string;
  readonly top: DiskImage;
  readonly base: DiskImage;
  /** The layer that has `top` as its backing image; absent where `top` is what the guest writes to. */
  readonly above?: DiskImage;
}

/** A disk that goes from one image to another. */
export interface Move {
  readonly disk: string;
  readonly from: DiskImage;
  readonly to: DiskImage;
}

/** From the image beneath to each overlay. */
export function movesOnto(disks: readonly LibxlDiskSnapshot[]): readonly Move[] {
  return disks.flatMap(({ disk, external, external_path, external_format = 'qcow2' }) => {
    if (!external || external_path === undefined || disk.pdev_path === undefined) return [];
    const from = { path: disk.pdev_path, format: disk.format === 'vhd' ? 'vpc' : (disk.format ?? 'raw') };
    return [{ disk: disk.vdev, from, to: { path: external_path, format: external_format } }];
  });
}

export function reversed(moves: readonly Move[]): readonly Move[] {
  return moves.map(({ disk, from, to }) => ({ disk, from: to, to: from }));
}
