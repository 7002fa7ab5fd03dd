/** Files and folders that are there, whole, after a crash: nothing here resolves before it is on the disk. */

import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';

/** Ends the name of a file that is being written. */
export const UNFINISHED = '.new';

/** Whoever could put a link there must not make us write elsewhere. */
const WRITE_NO_LINK = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

/** Replaces a file whole, as libvirt does: `<file>.new`, mode 0600, then a rename. A failure leaves the old file. */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const fresh = `${path}${UNFINISHED}`;
  try {
    await using file = await open(fresh, WRITE_NO_LINK, 0o600);
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

/** Removes a file; one that is not there is no error. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (isMissing(error)) return;
    throw systemError(error, `cannot remove file '${path}'`);
  }
  await syncFolder(dirname(path));
}

/** Makes a folder, and those above it, where they are missing. `mode` is for the ones that are made. */
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

/** Makes a folder of ours where it is missing. Refuses a link: what it leads to is somebody else's. */
export async function makeOwnFolder(path: string, mode: number): Promise<void> {
  await makeFolder(path, mode);
  await refuseLink(path);
}

/** Refuses a folder that is a link; one that is not there is no error. */
export async function refuseLink(path: string): Promise<void> {
  const found = await lstat(path).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot look at folder '${path}'`);
  });
  if (found?.isSymbolicLink()) {
    throw new LibvirtError('OPERATION_FAILED', `'${path}' is a link, not a folder: put a folder there`);
  }
}

/** Removes a folder that has become empty; one with something in it stays. */
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

/** Gives a folder another name beside the old one. Refuses to replace one that has something in it; a missing one is no error. */
export async function renameFolder(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (isMissing(error)) return;
    throw systemError(error, `cannot rename folder '${from}' as '${to}'`);
  }
  await syncFolder(dirname(to));
}

/** True for the error of a file or folder that is not there. */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** A rename or a removal is only durable once its folder is. */
async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, 'r');
    await folder.sync();
  } catch (error) {
    throw systemError(error, `cannot sync folder '${path}'`);
  }
}
