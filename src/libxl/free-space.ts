/** Room for the memory image, looked at before the guest is touched. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import type { DomainInfo } from './protocol.ts';

/** An image of a guest that stands is 1.016 times its RAM. */
const STANDING_FACTOR = 1.02;
/**
 * While it runs, pages that change are written again, in up to five passes. What a guest will write cannot be known; a
 * pass over an ordinary one is a fraction of the last, so half of the RAM is set aside.
 */
const LIVE_FACTOR = 1.5;
/** Header and device state. */
const EXTRA_BYTES = 4 << 20;

/** Refuses (OPERATION_FAILED) a file system that has not the room. */
export async function requireFreeSpace(path: string, { current_memkb = 0 }: DomainInfo, live: boolean): Promise<void> {
  const needed = Math.ceil(current_memkb * 1024 * (live ? LIVE_FACTOR : STANDING_FACTOR)) + EXTRA_BYTES;
  const free = await freeBytes(dirname(path));
  if (free >= needed) return;
  const mebibytes = (bytes: number) => Math.ceil(bytes / 2 ** 20);
  const text = `no room for the memory image '${path}': ${mebibytes(needed)} MiB are needed for ${live ? 'a live save' : 'it'}, ${mebibytes(free)} MiB are free`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** In a folder that may be yet to be made. */
async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && folder !== '/') return freeBytes(dirname(folder));
    throw systemError(error, `cannot look for room in folder '${folder}'`);
  }
}
