/**
 * RAM and disks belong together: a guest with memory of one moment and disks of another destroys its file systems. A
 * memory image is tied to the contents of the disks that were captured with it.
 */

import { createHash } from 'node:crypto';
import { contentsOf } from '../disks/fingerprint.ts';
import { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { readTie, writeTie } from './image-file.ts';

/** Returns a digest of the contents of these disks in the snapshot `name`; undefined if there are no disks. */
export async function tieOf(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<string | undefined> {
  if (disks.length === 0) return undefined;
  const lines = await contentsOf(name, disks);
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

/** Refuses (55) an image whose disks have changed since. Does not check an image without a tie. */
export async function checkTie(path: string, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  const tied = await readTie(path);
  if (tied === undefined || tied === (await tieOf(name, disks))) return;
  const images = disks.map(({ disk }) => `'${disk.pdev_path}'`).join(', ');
  const text = `memory image '${path}' of snapshot '${name}' does not go with its disks any more: ${images} have been changed since`;
  throw new LibvirtError('OPERATION_INVALID', text);
}

/**
 * Renews the tie after the contents of the disks have moved, unchanged, to other images. Does not tie an image without
 * a tie.
 */
export async function retie(path: string, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  const tie = (await readTie(path)) && (await tieOf(name, disks));
  if (tie) await writeTie(path, tie);
}
