/** Whether the file at a path is still the one that was seen, or made, there. */

import { type BigIntStats, closeSync, constants, fstatSync, openSync } from 'node:fs';
import { lstat, stat } from 'node:fs/promises';
import { LibvirtError } from '../errors.ts';

/** A file with its place. As plain data, so that it can be sent to another process. */
export interface FileAt {
  readonly path: string;
  /** Device and inode. */
  readonly id: string;
}

export function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

/** True if the file is at its path; a link to it is another file. */
export async function isAtItsPath({ path, id }: FileAt): Promise<boolean> {
  return await lstat(path, { bigint: true }).then(
    (found) => idOf(found) === id,
    () => false,
  );
}

/** Refuses (OPERATION_FAILED) if the path leads to another file by now. Follows links. */
export async function requireSame({ path, id }: FileAt): Promise<void> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  if (!found || idOf(found) !== id) throw replaced(path);
}

/** Opens the file for writing. Throws if another one, or a link, is in its place. Never waits. */
export function openToWrite({ path, id }: FileAt): number {
  const flags = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const fd = openSync(path, flags);
  if (idOf(fstatSync(fd, { bigint: true })) === id) return fd;
  closeSync(fd);
  throw replaced(path);
}

/** Opens a file or block device for reading, without waiting for what else may be in its place. */
export function openToRead(path: string): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  const found = fstatSync(fd);
  if (found.isFile() || found.isBlockDevice()) return fd;
  closeSync(fd);
  throw new LibvirtError('OPERATION_FAILED', `'${path}' is neither a regular file nor a block device`);
}

/** The error for a file in whose place there is another one. */
export function replaced(path: string): LibvirtError {
  const text = `'${path}' was replaced while it was being written: nothing was changed but the file that xlsnapd had made; make sure that nobody else changes files in this folder`;
  return new LibvirtError('OPERATION_FAILED', text);
}
