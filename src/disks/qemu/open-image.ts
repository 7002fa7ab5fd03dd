/** Opening and reading an image file, which may be in a folder of another user's, without ever waiting for what is in its place. */

import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';

/** For reading. Rejects with the error of the system; OPERATION_FAILED for a pipe, a character device or a folder. */
export async function openImage(path: string): Promise<FileHandle> {
  // Before it is opened: that alone may have an effect on a device.
  await requireImageFile(path);
  // Opening a pipe would wait for its writer, in one of the few threads that this process has for files.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    refuseOthers(path, await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads `bytes` bytes from `position` on, also if the system gives them in parts; those beyond the end of the file are zero. */
export async function readAt(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  for (let filled = 0; filled < bytes; ) {
    const { bytesRead } = await file.read(buffer, filled, bytes - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer;
}

/** Refuses what openImage refuses, and opens nothing: to be asked before a program opens the file. */
export async function requireImageFile(path: string): Promise<void> {
  refuseOthers(path, await stat(path));
}

function refuseOthers(path: string, found: Stats): void {
  if (found.isFile() || found.isBlockDevice()) return;
  throw new LibvirtError('OPERATION_FAILED', `'${path}' is neither a regular file nor a block device`);
}
