/**
 * Files of the daemon's own: metadata, memory images, the journal. Clients name files that are to be written or removed;
 * xlsnapd, as root, could do that with its own ones, too, and with them what it knows of every domain.
 */

import { realpath } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { isLibvirtError } from '../errors.ts';
import { answering } from '../files/answering.ts';
import type { SnapshotContext } from './context.ts';

/**
 * Returns the file or folder of ours that the path leads to, or into, whether something is there or not; undefined if it
 * leads elsewhere. Refuses (OPERATION_FAILED) a path whose storage does not answer. Reads only.
 */
export async function ownFileAt(
  { ownFiles }: Pick<SnapshotContext, 'ownFiles'>,
  path: string,
): Promise<string | undefined> {
  const file = await realName(path);
  for (const own of ownFiles) if (isIn(await realName(own), file)) return own;
  return undefined;
}

/** Without links; what is not there has the name that it would get in its folder. */
async function realName(path: string): Promise<string> {
  const found = await real(path);
  if (found !== undefined) return found;
  const folder = dirname(path);
  return join((await real(folder)) ?? folder, basename(path));
}

async function real(path: string): Promise<string | undefined> {
  return await answering(path, () => realpath(path)).catch((error) => {
    if (isLibvirtError(error)) throw error;
    return undefined;
  });
}

function isIn(folder: string, path: string): boolean {
  return relative(folder, path).split(sep)[0] !== '..';
}
