/** UNIX sockets that clients connect to. */

import { chmod, chown, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { LibvirtError, systemError } from '../errors.ts';

export interface ListenOptions {
  readonly path: string;
  /** A read-only socket: everything that changes something is refused on its connections. */
  readonly readOnly: boolean;
  /** Permissions of the socket file, as chmod takes them. */
  readonly mode: number;
  /** Group of the socket file; absent: the process's. */
  readonly gid?: number;
}

/** What serves a connection. It owns the socket from here on, errors included. */
export type ConnectionHandler = (socket: Socket, readOnly: boolean) => void;

/** Disposing of it removes the socket file and ends every connection. */
export interface Listener extends AsyncDisposable {
  readonly path: string;
}

/**
 * Listens at `options.path`. A socket file that nobody answers on is replaced; where somebody does, this is a
 * SYSTEM_ERROR. The file is of mode 0600 until it has its own mode and group.
 */
export async function listen(options: ListenOptions, handler: ConnectionHandler): Promise<Listener> {
  const { path, readOnly, mode, gid } = options;
  await removeStale(path);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    handler(socket, readOnly);
  });
  try {
    await bind(server, path);
    if (gid !== undefined) await chown(path, -1, gid);
    await chmod(path, mode);
  } catch (error) {
    server.close();
    throw systemError(error, `Failed to bind socket to '${path}'`);
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      // libuv removes the file of a socket that it has bound.
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

async function removeStale(path: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === undefined) {
    const detail = `Failed to bind socket to '${path}': Address already in use: another process answers there. Stop it, or listen at another path`;
    throw new LibvirtError('SYSTEM_ERROR', detail, { domain: 'RPC' });
  }
  if (code === 'ECONNREFUSED')
    await unlink(path).catch((error) => {
      throw systemError(error, `Failed to remove the stale socket '${path}'`);
    });
}
