/** Locks folders, so that only one daemon at a time uses them. */

import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { LibvirtError, systemError } from '../errors.ts';
import { makeFolder } from './atomic-file.ts';

const FOLDER_MODE = 0o700;

/**
 * Creates the folders if they are missing and locks them until disposed of. Refuses (OPERATION_FAILED) if another daemon
 * has locked one. The lock is an abstract socket named after the folder's inode and its birth time (inode numbers are
 * reused): the kernel releases it when the process ends, however it ends, and another path to the same folder leads to the
 * same lock.
 */
export async function lockFolders(folders: readonly string[]): Promise<AsyncDisposable> {
  const locks = new Map<string, Server>();
  const unlock = async (): Promise<void> => {
    await Promise.all([...locks.values()].map((server) => new Promise((closed) => server.close(closed))));
  };
  try {
    for (const folder of folders) {
      const name = await lockName(folder);
      if (!locks.has(name)) locks.set(name, await lock(folder, name));
    }
  } catch (error) {
    await unlock();
    throw error;
  }
  return { [Symbol.asyncDispose]: unlock };
}

async function lockName(folder: string): Promise<string> {
  await makeFolder(folder, FOLDER_MODE);
  try {
    const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true });
    return `\0xlsnap-folder-${dev}-${ino}-${birthtimeNs}`;
  } catch (error) {
    throw systemError(error, `cannot look at folder '${folder}'`);
  }
}

function lock(folder: string, name: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy()).unref();
  return new Promise((locked, refused) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EADDRINUSE') return refused(systemError(cause, `cannot lock folder '${folder}'`));
      const text = `another xlsnapd uses the folder '${folder}': stop it, or choose another folder`;
      refused(new LibvirtError('OPERATION_FAILED', text, { cause }));
    });
    server.listen(name, () => locked(server));
  });
}
