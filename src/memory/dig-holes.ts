/** Gives back the space of zeros in a memory image that another program has written. */

import { constants } from 'node:fs';
import { OPEN_FILE, type Program, runOnFile } from '../disks/program.ts';
import { openImage } from '../files/open-image.ts';

const FALLOCATE: Program = { name: 'fallocate', debianPackage: 'util-linux' };

/**
 * Turns blocks of zeros into holes; a reader sees no difference. For a file that nobody writes to any more, and after its
 * fsync: a file system writes what is not on the disk yet before it makes a hole of it. Rejects if it has no holes.
 */
export async function digHoles(path: string): Promise<void> {
  await using file = await openImage(path, constants.O_RDWR);
  const failure = `memory image '${path}' takes the space of its zeros, too`;
  await runOnFile(FALLOCATE, ['--dig-holes', OPEN_FILE], failure, { fd: file.fd, path });
}
