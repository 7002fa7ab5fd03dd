/** Disks of a domain that go from one image to another. */

import type { DiskImage, LibxlDiskSnapshot } from './libxl.ts';

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
