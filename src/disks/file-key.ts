/** Whether two paths are one file: links and odd spellings do not make two files of one. */

import type { BigIntStats } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../errors.ts';
import { answering } from '../files/answering.ts';

/**
 * The same text for all names of one file or device. A file that does not exist is identified by its folder and name. Refuses
 * (OPERATION_FAILED) a file whose storage does not answer.
 */
export async function fileKey(path: string): Promise<string> {
  const found = await answering(path, () => stat(path, { bigint: true })).catch((error) => {
    if (error instanceof LibvirtError) throw error;
  });
  if (found) return keyOf(found);
  const folder = dirname(path);
  return join(await answering(folder, () => realpath(folder)).catch(() => folder), basename(path));
}

/** The same for a file that has been looked at. */
export function keyOf(found: BigIntStats): string {
  return found.isBlockDevice() ? `device ${found.rdev}` : `${found.dev} ${found.ino}`;
}
