/** Decides who may call: those who could connect to the daemon's socket, by the kernel's rule. */

/** A caller's credentials (org.freedesktop.DBus.GetConnectionCredentials). */
export interface Credentials {
  readonly uid: number | undefined;
  /** All groups; empty if the bus does not report them. */
  readonly gids: readonly number[];
}

/** Owner, group and permissions of the daemon's socket. */
export interface SocketAccess {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * True if connect(2) would allow it: it needs write permission on the socket file, from the first class that the caller
 * is in.
 */
export function mayConnect({ uid, gid, mode }: SocketAccess, caller: Credentials): boolean {
  if (caller.uid === 0) return true;
  if (caller.uid === uid) return (mode & 0o200) !== 0;
  if (caller.gids.includes(gid)) return (mode & 0o020) !== 0;
  return (mode & 0o002) !== 0;
}
