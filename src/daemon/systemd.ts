/**
 * The two sides of a systemd service: sockets that are bound already (sd_listen_fds(3)), and readiness (sd_notify(3)).
 */

import { LibvirtError } from '../errors.ts';

/** SD_LISTEN_FDS_START. */
const FIRST_FD = 3;

type Environment = Record<string, string | undefined>;

/** A listening socket that systemd has passed. */
export interface ActivatedSocket {
  readonly fd: number;
  readonly readOnly: boolean;
}

/**
 * Returns the sockets that were passed to this process, and removes them from the environment, so that programs that
 * are started from here do not take them. A socket is the read-only one if its name (libvirt's own units are called
 * `virtxend-ro.socket`) or its path says so: systemd's order is not fixed. INVALID_ARG for several of which none is.
 */
export function activatedSockets(
  pathOf: (fd: number) => string | undefined,
  env: Environment = process.env,
  pid = process.pid,
): readonly ActivatedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (Number(LISTEN_PID) !== pid) return [];
  const names = LISTEN_FDNAMES.split(':');
  const sockets = Array.from({ length: Number(LISTEN_FDS) }, (_, index) => {
    const fd = FIRST_FD + index;
    return { fd, readOnly: READ_ONLY_NAME.test(names[index] ?? '') || (pathOf(fd)?.endsWith('-ro') ?? false) };
  });
  if (sockets.length > 1 && !sockets.some(({ readOnly }) => readOnly)) {
    const text = `${sockets.length} sockets from systemd, none of them named as the read-only one`;
    throw new LibvirtError('INVALID_ARG', `${text} (FileDescriptorName=…-ro, or a path that ends in -ro)`);
  }
  return sockets;
}

const READ_ONLY_NAME = /(^|-)ro(\.socket)?$/;

/** Returns the function that notifies the service manager; it does nothing if NOTIFY_SOCKET is not set. */
export function notifier(
  send: (address: string, text: string) => boolean,
  env: Environment = process.env,
): (state: 'READY=1' | 'STOPPING=1') => void {
  const { NOTIFY_SOCKET } = env;
  delete env.NOTIFY_SOCKET;
  return (state) => {
    if (NOTIFY_SOCKET) send(NOTIFY_SOCKET, state);
  };
}
