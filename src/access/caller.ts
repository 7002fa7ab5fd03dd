/** Who calls, as the kernel, polkit and libvirtd identify a process. */

/** SO_PEERCRED of a client. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Field 22 of /proc/PID/stat, read when the client connected; undefined if the process had gone. */
  readonly startTime: bigint | undefined;
}

/** A process as polkit's subject, named with its start and its user: pids are used again. */
export interface ProcessSubject {
  readonly kind: 'unix-process';
  readonly pid: number;
  readonly startTime: bigint;
  readonly uid: number;
}

/** Polkit's kinds of subjects. */
export type Subject = ProcessSubject | { readonly kind: 'system-bus-name'; readonly name: string };

/** Root and the daemon's own user may do all that the daemon may, as with libvirtd. */
export function isTrusted(uid: number | undefined): boolean {
  return uid !== undefined && (uid === 0 || uid === process.geteuid?.());
}

/** Returns undefined for a process that cannot be identified: it is to be refused. */
export function processSubject(peer: PeerCredentials | undefined): ProcessSubject | undefined {
  if (peer?.startTime === undefined || peer.pid <= 0) return undefined;
  return { kind: 'unix-process', pid: peer.pid, startTime: peer.startTime, uid: peer.uid };
}
