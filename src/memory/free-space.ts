/** Space for a memory image, checked before the guest is touched. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import { memoryImageBytes } from '../model/memory-size.ts';

/**
 * A live save writes pages that the guest has changed again, in up to five passes. Their number is not known
 * beforehand; for an ordinary guest each pass is a fraction of the one before, so half of the RAM is added.
 */
const LIVE_FACTOR = 1.5;

/**
 * Refuses (OPERATION_FAILED) to save a guest with `ramKib` of RAM to `path` if its file system has too little space.
 */
export async function requireFreeSpace(
  path: string,
  ramKib: number,
  { live }: { readonly live: boolean },
): Promise<void> {
  const needed = memoryImageBytes(live ? ramKib * LIVE_FACTOR : ramKib);
  const free = await freeBytes(dirname(path));
  if (free >= needed) return;
  const mebibytes = (bytes: number) => Math.ceil(bytes / 2 ** 20);
  const purpose = live ? ' for a live save' : '';
  throw new LibvirtError(
    'OPERATION_FAILED',
    `not enough space for memory image '${path}': ${mebibytes(needed)} MiB are needed${purpose}, ` +
      `${mebibytes(free)} MiB are free; delete snapshots or make room`,
  );
}

/**
 * Returns the bytes that an unprivileged process may still write in a folder, which may not exist yet: root's reserve
 * is not used.
 */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && folder !== '/') return freeBytes(dirname(folder));
    throw systemError(error, `cannot read the free space of '${folder}'`);
  }
}
