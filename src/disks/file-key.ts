/** Whether two paths are one file: links, odd spellings and loop devices do not make two files of one. */

import type { BigIntStats } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../errors.ts';
import { answering } from '../files/answering.ts';

/** What the kernel puts behind the name of a file that has been removed. */
export const REMOVED = ' (deleted)';

/**
 * The same text for all names of one file or device. A file that does not exist is identified by its folder and name. Refuses
 * (OPERATION_FAILED) a file whose storage does not answer.
 */
export async function fileKey(path: string): Promise<string> {
  const found = await statOf(path);
  if (found) return await keyOf(found);
  const folder = dirname(path);
  return join(await answering(folder, () => realpath(folder)).catch(() => folder), basename(path));
}

/** The same for a file that has been looked at. */
export async function keyOf(found: BigIntStats): Promise<string> {
  if (!found.isBlockDevice()) return `${found.dev} ${found.ino}`;
  return (await keyOfLoop(found.rdev)) ?? `device ${found.rdev}`;
}

/** Of a loop device that shows a whole file: the file's. Undefined for other devices, and if the file is not there any more. */
async function keyOfLoop(rdev: bigint): Promise<string | undefined> {
  const loop = `/sys/dev/block/${majorOf(rdev)}:${minorOf(rdev)}/loop`;
  const read = async (attribute: string): Promise<string> =>
    (await readFile(join(loop, attribute), 'utf8')).replace(/\n$/, '');
  try {
    const [file, offset, limit] = [await read('backing_file'), await read('offset'), await read('sizelimit')];
    if (offset !== '0' || limit !== '0' || file.endsWith(REMOVED)) return undefined;
    const found = await statOf(file);
    return found && (await keyOf(found));
  } catch (error) {
    if (error instanceof LibvirtError) throw error;
    return undefined;
  }
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  return await answering(path, () => stat(path, { bigint: true })).catch((error) => {
    if (error instanceof LibvirtError) throw error;
    return undefined;
  });
}

/** major(3), minor(3): how glibc puts the two numbers into one. */
function majorOf(rdev: bigint): bigint {
  return ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n);
}

function minorOf(rdev: bigint): bigint {
  return (rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n);
}
