/** Crash-safe changes of files and folders: nothing here resolves before the change is on disk. */

import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';

/** Suffix of a file that is being written. */
export const UNFINISHED = '.new';

/** Follows no link, which somebody could place there to make us write elsewhere, and does not wait for a pipe's reader. */
const WRITE_NO_LINK =
  constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Replaces a file whole, as libvirt does: `<file>.new`, then a rename. If it fails, the old file stays. The file has its mode
 * before it has its name: others may watch the folder, and read it at once.
 */
export async function writeFileAtomically(path: string, text: string, mode = 0o600): Promise<void> {
  const fresh = `${path}${UNFINISHED}`;
  try {
    await using file = await open(fresh, WRITE_NO_LINK, 0o600);
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await rm(fresh, { force: true }).catch(() => undefined);
    throw systemError(error, `cannot write file '${fresh}'`);
  }
  await rename(fresh, path).catch(async (error) => {
    await rm(fresh, { force: true }).catch(() => undefined);
    throw systemError(error, `cannot rename file '${fresh}' as '${path}'`);
  });
  await syncFolder(dirname(path));
}

/** Removes a file; accepts that it is missing. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (isMissing(error)) return;
    throw systemError(error, `cannot remove file '${path}'`);
  }
  await syncFolder(dirname(path));
}

/** Creates a folder and its parents if they are missing. `mode`: of the created ones. */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeFolder(dirname(path), mode);
      await makeFolder(path, mode);
      return;
    }
    if (code === 'EEXIST' && (await isFolder(path))) return;
    throw systemError(error, `cannot create folder '${path}'`);
  }
  await syncFolder(dirname(path));
}

/** Creates a folder of ours if it is missing. Refuses a link, which may lead to somebody else's folder. */
export async function makeOwnFolder(path: string, mode: number): Promise<void> {
  await makeFolder(path, mode);
  await refuseLink(path);
}

/** Refuses a folder that is a symbolic link; accepts that it is missing. */
export async function refuseLink(path: string): Promise<void> {
  const found = await lstat(path).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot look at folder '${path}'`);
  });
  if (found?.isSymbolicLink()) {
    throw new LibvirtError('OPERATION_FAILED', `'${path}' is a link, not a folder: put a folder there`);
  }
}

/** Removes a folder if it is empty. */
export async function removeEmptyFolder(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (isMissing(error) || code === 'ENOTEMPTY' || code === 'EEXIST') return;
    throw systemError(error, `cannot remove folder '${path}'`);
  }
  await syncFolder(dirname(path));
}

/** Renames a folder. Refuses to replace a folder that is not empty; accepts that `from` is missing. */
export async function renameFolder(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (isMissing(error)) return;
    throw systemError(error, `cannot rename folder '${from}' as '${to}'`);
  }
  await syncFolder(dirname(to));
}

/** True for the error of a missing file or folder (ENOENT). */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** A rename or a removal is durable only after its folder is synced. */
async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, 'r');
    await folder.sync();
  } catch (error) {
    throw systemError(error, `cannot sync folder '${path}'`);
  }
}
