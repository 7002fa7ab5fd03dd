/** Whether a memory image is still of use, for one that no metadata names. */

import { stat } from 'node:fs/promises';
import { hasSnapshot, refusalOf } from '../disks/backends.ts';
import type { LibxlDeviceDisk } from '../model/libxl.ts';
import type { TieState } from '../model/snapshot.ts';
import { readTie } from './image-file.ts';
import { tieOf } from './tie.ts';

/** A memory image, and the snapshot that it was saved for. */
export interface MemoryOfSnapshot {
  readonly path: string;
  /** The snapshot's name. */
  readonly name: string;
}

/**
 * `disks`: those of the definition in the memory image. A snapshot with internal memory captured all of them that a guest
 * can write to: inside the image, which then has a snapshot of that name, or by an overlay, below which the image has not
 * changed since. Never rejects. Reads only.
 */
export async function tieState({ path, name }: MemoryOfSnapshot, disks: readonly LibxlDeviceDisk[]): Promise<TieState> {
  const written = disks.filter(({ pdev_path, readwrite }) => pdev_path !== undefined && readwrite === 1);
  if (written.length === 0) return 'holds';
  try {
    for (const { pdev_path = '' } of written) await stat(pdev_path);
    for (const disk of written) if (await hasSnapshot(disk, name)) return 'holds';
    const overlaid = written.map((disk) => ({ name, disk, external: true }));
    for (const each of overlaid) if ((await refusalOf(each)) !== undefined) return 'broken';
    const tied = await readTie(path);
    if (tied === undefined) return (await areUnchangedSince(path, written)) ? 'unknown' : 'broken';
    return tied === (await tieOf(name, overlaid)) ? 'holds' : 'broken';
  } catch {
    return 'unknown';
  }
}

/** An image that libvirtd has saved itself has no tie. */
async function areUnchangedSince(path: string, disks: readonly LibxlDeviceDisk[]): Promise<boolean> {
  const saved = await stat(path);
  const images = await Promise.all(disks.map(({ pdev_path = '' }) => stat(pdev_path)));
  return images.every(({ mtimeMs }) => mtimeMs <= saved.mtimeMs);
}
