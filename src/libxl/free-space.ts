/** Checks the room for the memory image before the guest is touched. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import { memoryImageBytes } from '../model/memory-size.ts';
import type { DomainInfo } from './helper/protocol.ts';

/**
 * While a guest runs, pages that it changes are written again, in up to five passes. How much it will write cannot be known;
 * usually each pass is a fraction of the last, so half of the RAM is added.
 */
const LIVE_FACTOR = 1.5;

/** Refuses (OPERATION_FAILED) a file system that does not have enough room. */
export async function requireFreeSpace(path: string, { current_memkb = 0 }: DomainInfo, live: boolean): Promise<void> {
  const needed = memoryImageBytes(live ? current_memkb * LIVE_FACTOR : current_memkb);
  const free = await freeBytes(dirname(path));
  if (free >= needed) return;
  const mebibytes = (bytes: number) => Math.ceil(bytes / 2 ** 20);
  const text = `no room for the memory image '${path}': ${mebibytes(needed)} MiB are needed for ${live ? 'a live save' : 'it'}, ${mebibytes(free)} MiB are free`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** The folder may not exist yet. */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && folder !== '/') return freeBytes(dirname(folder));
    throw systemError(error, `cannot look for room in folder '${folder}'`);
  }
}
