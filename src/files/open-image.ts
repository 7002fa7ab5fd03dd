/** Opening and reading an image file, which may be in a folder of another user's, without ever waiting for what is in its place. */

import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { LibvirtError } from '../errors.ts';
import { answering } from './answering.ts';

/** For messages about an open file. */
const paths = new WeakMap<FileHandle, string>();

/** `access`: O_RDONLY or O_RDWR. Rejects with the error of the system; OPERATION_FAILED for a pipe, a character device or a folder. */
export async function openImage(path: string, access: number = constants.O_RDONLY): Promise<FileHandle> {
  // Before it is opened: that alone may have an effect on a device.
  await requireImageFile(path);
  // Opening a pipe would wait for its writer, in one of the few threads that this process has for files.
  const opening = () => open(path, access | constants.O_NONBLOCK | constants.O_NOCTTY);
  const file = await answering(path, opening, (late) => late.close());
  paths.set(file, path);
  try {
    refuseOthers(path, await answering(path, () => file.stat()));
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
    const bytesRead = await readInto(buffer, filled, file, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer;
}

/** Reads up to the end of the buffer from `at` on; returns how many bytes came, 0 at the end of the file. */
export async function readInto(buffer: Buffer, at: number, file: FileHandle, position: number): Promise<number> {
  // No file is as long. Newer versions of Node refuse such a position themselves.
  if (!Number.isSafeInteger(position)) return 0;
  const path = paths.get(file) ?? `/proc/self/fd/${file.fd}`;
  const { bytesRead } = await answering(path, () => file.read(buffer, at, buffer.length - at, position));
  return bytesRead;
}

/** Refuses what openImage refuses, and opens nothing: to be asked before a program opens the file. */
export async function requireImageFile(path: string): Promise<void> {
  refuseOthers(path, await answering(path, () => stat(path)));
}

function refuseOthers(path: string, found: Stats): void {
  if (found.isFile() || found.isBlockDevice()) return;
  const text = `'${path}' is neither a regular file nor a block device`;
  throw new LibvirtError('OPERATION_FAILED', text, found.isDirectory() ? { reason: 'image-is-folder' } : {});
}
