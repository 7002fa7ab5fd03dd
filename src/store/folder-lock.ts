/** Makes sure that a folder is used by one daemon at a time. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import { makeFolder } from './atomic-file.ts';

const FOLDER_MODE = 0o700;

/** The lock's file in each folder. Only its owner can open it, and so only its owner can lock it. */
export const LOCK_FILE = '.xlsnapd.lock';
const LOCK_FILE_MODE = 0o600;
const OPEN_OWN = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** flock(2) without waiting: false if another process holds the lock. Throws the error of the system. */
export type LockFile = (fd: number) => boolean;

/**
 * Creates missing folders and locks all until disposed of; OPERATION_FAILED if another daemon has
 * one. The lock is the kernel's, on an open file: it ends with its process, however that ends, is not passed on to the
 * programs that the process starts, and neither another path to the folder, another version of Node nor another network
 * namespace is a way around it.
 */
export async function lockFolders(folders: readonly string[], lockFile: LockFile): Promise<AsyncDisposable> {
  const locks = new Map<string, FileHandle>();
  const unlock = async (): Promise<void> => {
    await Promise.all([...locks.values()].map((file) => file.close()));
  };
  try {
    for (const folder of folders) {
      const file = await openLockFile(folder);
      const { dev, ino } = await file.stat({ bigint: true });
      if (locks.has(`${dev}-${ino}`)) await file.close();
      else {
        locks.set(`${dev}-${ino}`, file);
        lock(folder, file, lockFile);
      }
    }
  } catch (error) {
    await unlock();
    throw error;
  }
  return { [Symbol.asyncDispose]: unlock };
}

async function openLockFile(folder: string): Promise<FileHandle> {
  await makeFolder(folder, FOLDER_MODE);
  const path = join(folder, LOCK_FILE);
  try {
    return await open(path, OPEN_OWN, LOCK_FILE_MODE);
  } catch (error) {
    throw systemError(error, `cannot open lock file '${path}'`);
  }
}

function lock(folder: string, { fd }: FileHandle, lockFile: LockFile): void {
  let locked: boolean;
  try {
    locked = lockFile(fd);
  } catch (error) {
    throw systemError(error, `cannot lock folder '${folder}'`);
  }
  if (locked) return;
  const text = `another xlsnapd uses the folder '${folder}': stop it, or choose another folder`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
