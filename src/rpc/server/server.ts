/** UNIX sockets that clients connect to. */

import { access, chmod, chown, lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isLibvirtError, LibvirtError, systemError } from '../../errors.ts';

/** For the last answers of a server that is closing. */
const FLUSH_TIMEOUT_MS = 1_000;

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
  const { server, close } = serverOf(readOnly, handler);
  try {
    // Of a folder that is not there, libuv's bind says that permission is denied.
    await access(dirname(path));
    await removeStale(path);
    await started(server, () => bind(server, path));
    if (gid !== undefined) await chown(path, -1, gid);
    await chmod(path, mode);
  } catch (error) {
    server.close();
    throw isLibvirtError(error) ? error : systemError(error, `Failed to bind socket to '${path}'`, 'RPC');
  }
  // libuv removes the file of a socket that it has bound.
  return { path, [Symbol.asyncDispose]: close };
}

/** Listens at a socket that another has bound (systemd), and to whom it goes on belonging. */
export async function listenAtFd(fd: number, readOnly: boolean, handler: ConnectionHandler): Promise<Listener> {
  const { server, close } = serverOf(readOnly, handler);
  try {
    await started(server, () => server.listen({ fd }));
  } catch (error) {
    throw systemError(error, `Failed to listen at file descriptor ${fd}`, 'RPC');
  }
  return { path: `file descriptor ${fd}`, [Symbol.asyncDispose]: close };
}

function serverOf(readOnly: boolean, handler: ConnectionHandler) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    handler(socket, readOnly);
  });
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    // Answers are still on their way out. Who does not read them keeps nobody.
    for (const socket of sockets) socket.destroySoon();
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, FLUSH_TIMEOUT_MS);
    await closed;
    clearTimeout(timer);
  };
  return { server, close };
}

function started(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      // From here on it is accept that fails (too many open files), which is that client's loss only.
      server.off('error', reject).on('error', () => {});
      resolve();
    });
    start();
  });
}

function bind(server: Server, path: string): void {
  const mask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
}

/** Removes a socket file that nobody answers on, and nothing else: what lies there otherwise is bind's to refuse. */
async function removeStale(path: string): Promise<void> {
  const code = await probe(path);
  if (code === undefined) {
    const detail = 'Address already in use: another process answers there. Stop it, or listen at another path';
    throw new LibvirtError('SYSTEM_ERROR', `Failed to bind socket to '${path}': ${detail}`, { domain: 'RPC' });
  }
  if (code === 'ECONNREFUSED' && (await lstat(path)).isSocket()) await unlink(path);
}

/** The error of connecting to `path`, or nothing where somebody answers. */
function probe(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
}
