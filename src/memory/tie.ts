/**
 * RAM and disks belong together: a guest whose memory is of one moment and whose disks are of another destroys its file
 * systems. A memory image is tied to the contents of the disks that were captured with it.
 */

import { createHash } from 'node:crypto';
import { contentsOf } from '../disks/fingerprint.ts';
import { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { readTie, writeTie } from './image-file.ts';

/** What the snapshot `name` of these disks holds, as a digest. Undefined where there are no disks to be tied to. */
export async function tieOf(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<string | undefined> {
  if (disks.length === 0) return undefined;
  const lines = await contentsOf(name, disks);
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

/** Refuses (55) an image whose disks have moved on since. One that nobody has tied is not checked. */
export async function checkTie(path: string, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  const tied = await readTie(path);
  if (tied === undefined || tied === (await tieOf(name, disks))) return;
  const images = disks.map(({ disk }) => `'${disk.pdev_path}'`).join(', ');
  const text = `memory image '${path}' of snapshot '${name}' does not go with its disks any more: ${images} have been changed since`;
  throw new LibvirtError('OPERATION_INVALID', text);
}

/** For disks whose contents are the same, but in other images. An image that nobody has tied stays so. */
export async function retie(path: string, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  const tie = (await readTie(path)) && (await tieOf(name, disks));
  if (tie) await writeTie(path, tie);
}
