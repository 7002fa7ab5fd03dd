/** The two sides of a systemd service: sockets that are bound already (sd_listen_fds(3)), and readiness (sd_notify(3)). */

import { LibvirtError } from '../errors.ts';

/** SD_LISTEN_FDS_START. */
const FIRST_FD = 3;

type Environment = Record<string, string | undefined>;

export interface ActivatedSocket {
  readonly fd: number;
  readonly readOnly: boolean;
}

/**
 * Returns the sockets that were passed to this process, and removes them from the environment, so that programs that are
 * started from here do not take them. The read-only one is known by its name (libvirt's own units are called
 * `virtxend-ro.socket`), or, if no name says so, by being the second.
 */
export function activatedSockets(env: Environment = process.env, pid = process.pid): readonly ActivatedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (Number(LISTEN_PID) !== pid) return [];
  const count = Number(LISTEN_FDS);
  const names = LISTEN_FDNAMES.split(':');
  const named = names.some(isReadOnlyName);
  if (!named && count > 2) {
    const text = `${count} sockets from systemd, none of them named as the read-only one (FileDescriptorName=…-ro)`;
    throw new LibvirtError('INVALID_ARG', text);
  }
  return Array.from({ length: count }, (_, index) => ({
    fd: FIRST_FD + index,
    readOnly: named ? isReadOnlyName(names[index] ?? '') : index === 1,
  }));
}

const isReadOnlyName = (name: string): boolean => /(^|-)ro(\.socket)?$/.test(name);

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
