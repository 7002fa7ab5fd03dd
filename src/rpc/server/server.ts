/** Listens on UNIX sockets. */

import { access, chmod, chown, lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isLibvirtError, LibvirtError, systemError } from '../../errors.ts';
import type { Client, ClientLimit } from './client-limit.ts';

/** Timeout for the last replies of a server that is closing. */
const FLUSH_TIMEOUT_MS = 1_000;

/** Options of one socket. */
export interface ListenOptions {
  readonly path: string;
  /** A read-only socket: everything that changes something is refused on its connections. */
  readonly readOnly: boolean;
  /** Permissions of the socket file, as chmod takes them. */
  readonly mode: number;
  /** Group of the socket file; absent: the process's. */
  readonly gid?: number;
  /** Absent: no limit. */
  readonly clients?: ClientLimit;
  /** That of its clients. */
  readonly qemuSystem?: Client['qemuSystem'];
}

/** Serves a connection. It owns the socket from then on, errors included. */
export type ConnectionHandler = (socket: Socket, client: Client) => void;

/** Disposing of it removes the socket file and ends every connection. */
export interface Listener extends AsyncDisposable {
  readonly path: string;
}

/**
 * Listens at `options.path`. Replaces a socket file on which nobody answers; if somebody does, this is a SYSTEM_ERROR.
 * The file has mode 0600 until it has its own mode and group.
 */
export async function listen(options: ListenOptions, handler: ConnectionHandler): Promise<Listener> {
  const { path, mode, gid } = options;
  const { server, close } = serverOf(options, handler);
  try {
    // For a missing folder, libuv's bind reports that permission is denied.
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

/** Listens at a socket that another process (systemd) has bound and keeps. */
export async function listenAtFd(fd: number, options: Served, handler: ConnectionHandler): Promise<Listener> {
  const { server, close } = serverOf(options, handler);
  try {
    await started(server, () => server.listen({ fd }));
  } catch (error) {
    throw systemError(error, `Failed to listen at file descriptor ${fd}`, 'RPC');
  }
  return { path: `file descriptor ${fd}`, [Symbol.asyncDispose]: close };
}

type Served = Pick<ListenOptions, 'readOnly' | 'clients' | 'qemuSystem'>;

function serverOf({ readOnly, clients, qemuSystem }: Served, handler: ConnectionHandler) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const client = clients ? clients.admit(socket, readOnly) : { readOnly, peer: undefined, authenticated() {} };
    if (!client) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    handler(socket, qemuSystem === undefined ? client : { ...client, qemuSystem });
  });
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    // Waits until the last replies are written, but not for a client that does not read them.
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

/** Removes a socket file on which nobody answers, and nothing else: bind refuses any other file. */
async function removeStale(path: string): Promise<void> {
  const code = await probe(path);
  if (code === undefined) {
    const detail = 'Address already in use: another process answers there. Stop it, or listen at another path';
    throw new LibvirtError('SYSTEM_ERROR', `Failed to bind socket to '${path}': ${detail}`, { domain: 'RPC' });
  }
  if (code === 'ECONNREFUSED' && (await lstat(path)).isSocket()) await unlink(path);
}

/** The error of connecting to `path`, or undefined if somebody answers. */
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
