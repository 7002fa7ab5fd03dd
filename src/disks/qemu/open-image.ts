/** Opening an image file, which may be in a folder of another user's, without ever waiting for what is in its place. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';

/** For reading. Rejects with the error of the system; OPERATION_FAILED for a pipe, a character device or a folder. */
export async function openImage(path: string): Promise<FileHandle> {
  // Opening a pipe would wait for its writer, in one of the few threads that this process has for files.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = await file.stat();
  if (found.isFile() || found.isBlockDevice()) return file;
  await file.close();
  throw new LibvirtError('OPERATION_FAILED', `'${path}' is neither a regular file nor a block device`);
}
