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

interface PassedSocket extends ActivatedSocket {
  readonly name: string;
  readonly path: string | undefined;
}

/**
 * Returns the sockets that were passed to this process, and removes them from the environment, so that programs that
 * are started from here do not take them. A socket is the read-only one if its name (libvirt's own units are called
 * `virtxend-ro.socket`) or its path says so: systemd's order is not fixed. INVALID_ARG if one of several is neither that
 * nor known as a write socket: it might be a read-only one that has been renamed.
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
  const sockets = Array.from({ length: Number(LISTEN_FDS) }, (_, index): PassedSocket => {
    const fd = FIRST_FD + index;
    const name = names[index] ?? '';
    const path = pathOf(fd);
    return { fd, name, path, readOnly: READ_ONLY_NAME.test(name) || (path?.endsWith('-ro') ?? false) };
  });
  const unknown = sockets.find((each) => !each.readOnly && !isWriteSocket(each, sockets));
  if (sockets.length > 1 && unknown) {
    const which = `socket '${unknown.name}' (${unknown.path ?? 'without a path'}), one of ${sockets.length} from systemd,`;
    const rule =
      'FileDescriptorName=…-ro, or a path that ends in -ro, if it is; FileDescriptorName=xlsnapd.socket if not';
    throw new LibvirtError('INVALID_ARG', `${which} is not named as the read-only one, nor as another (${rule})`);
  }
  return sockets.map(({ fd, readOnly }) => ({ fd, readOnly }));
}

const READ_ONLY_NAME = /(^|-)ro(\.socket)?$/;
const WRITE_NAME = /^xlsnapd(-cockpit)?(\.socket)?$/;

/** It has the name of one, or there is a read-only one to it. */
function isWriteSocket({ name, path }: PassedSocket, sockets: readonly PassedSocket[]): boolean {
  const isTwin = (other: PassedSocket): boolean =>
    other.readOnly && ((path !== undefined && other.path === `${path}-ro`) || isReadOnlyNameOf(other.name, name));
  return WRITE_NAME.test(name) || sockets.some(isTwin);
}

const isReadOnlyNameOf = (readOnly: string, name: string): boolean =>
  name !== '' && READ_ONLY_NAME.test(readOnly) && readOnly.replace(/-ro(?=(\.socket)?$)/, '') === name;

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
