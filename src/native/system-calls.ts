/** System calls that Node does not have, through koffi. */

import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { openFfi } from './ffi.ts';

/** socket(7), unix(7) on Linux. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_PEERCRED = 17;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** struct sockaddr_un: the family, and 108 bytes of path. */
const SOCKADDR_UN_BYTES = 110;
/** flock(2). */
const LOCK_EX = 2;
const LOCK_NB = 4;
/** fcntl(2). */
const F_SETPIPE_SZ = 1031;
const O_CLOEXEC = 0o2000000;
/** struct ucred: pid, uid, gid. */
const UCRED_BYTES = 12;

interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** In clock ticks since the boot; undefined if the process has gone. */
  readonly startTime: bigint | undefined;
}

/** The descriptors of a pipe. */
export interface Pipe {
  readonly reader: number;
  readonly writer: number;
}

/** The system calls. Errors are thrown as Node's own. */
export interface SystemCalls {
  /** The process that connected a UNIX socket, as it was then. Undefined if the kernel does not say. */
  peerCredentials(fd: number): PeerCredentials | undefined;
  /** Path that a UNIX socket is bound to (getsockname(2)); undefined where it has none. */
  socketPath(fd: number): string | undefined;
  /** Bytes that a socket takes before it makes its writer wait; the kernel gives at most net.core.wmem_max. */
  sendBuffer(fd: number, bytes: number): void;
  /** One datagram to a UNIX socket; a leading `@` is an abstract one. False if it could not be sent. */
  sendDatagram(address: string, text: string): boolean;
  /**
   * Locks an open file for this process (flock(2)) without waiting: false if another process holds the lock. Throws an
   * error with the system's errno, as Node's own calls do.
   */
  lockFile(fd: number): boolean;
  /**
   * A pipe that programs do not inherit. It holds `bytes` before its writer waits, or fewer if the kernel gives no more.
   * The caller closes both ends.
   */
  pipe(bytes: number): Pipe;
  /** Ends this process at once (_exit(2)). Node's own exit waits for each thread that reads from a file. */
  exitNow(status: number): void;
}

/** Loads the C library. */
export async function openSystemCalls(): Promise<SystemCalls> {
  const koffi = await openFfi();
  const libc = koffi.load(null);
  const getsockopt = libc.func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);
  const setsockopt = libc.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32']);
  const socket = libc.func('socket', 'int', ['int', 'int', 'int']);
  const sendto = libc.func('sendto', 'int64', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32']);
  const close = libc.func('close', 'int', ['int']);
  const getsockname = libc.func('getsockname', 'int', ['int', 'void *', 'void *']);
  const flock = libc.func('flock', 'int', ['int', 'int']);
  const pipe2 = libc.func('pipe2', 'int', ['void *', 'int']);
  const fcntl = libc.func('fcntl', 'int', ['int', 'int', '...']);
  const exit = libc.func('_exit', 'void', ['int']);
  const failed = (syscall: string): Error => {
    const errno = koffi.errno();
    return Object.assign(new Error(`${syscall} failed with errno ${errno}`), { errno: -errno, syscall });
  };
  return {
    exitNow: (status) => void exit(status),
    peerCredentials(fd) {
      const ucred = Buffer.alloc(UCRED_BYTES);
      const length = Buffer.alloc(4);
      length.writeInt32LE(UCRED_BYTES);
      if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ucred, length) !== 0) return undefined;
      const pid = ucred.readInt32LE(0);
      return { pid, uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8), startTime: startTimeOf(pid) };
    },
    socketPath(fd) {
      const address = Buffer.alloc(SOCKADDR_UN_BYTES);
      const length = Buffer.alloc(4);
      length.writeInt32LE(SOCKADDR_UN_BYTES);
      if (getsockname(fd, address, length) !== 0 || address.readUInt16LE() !== AF_UNIX) return undefined;
      const [path = ''] = address.toString('utf8', 2, length.readInt32LE()).split('\0');
      return path || undefined;
    },
    sendBuffer(fd, bytes) {
      const size = Buffer.alloc(4);
      size.writeInt32LE(bytes);
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, size, size.length);
    },
    sendDatagram(address, text) {
      const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (fd < 0) return false;
      try {
        const to = unixAddress(address);
        const bytes = Buffer.from(text);
        return sendto(fd, bytes, bytes.length, 0, to, to.length) === bytes.length;
      } finally {
        close(fd);
      }
    },
    lockFile(fd) {
      if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
      if (koffi.errno() === constants.errno.EWOULDBLOCK) return false;
      throw failed('flock');
    },
    pipe(bytes) {
      const ends = Buffer.alloc(8);
      if (pipe2(ends, O_CLOEXEC) !== 0) throw failed('pipe2');
      const pipe = { reader: ends.readInt32LE(0), writer: ends.readInt32LE(4) };
      fcntl(pipe.writer, F_SETPIPE_SZ, 'int', bytes);
      return pipe;
    },
  };
}

/** Field 22 of /proc/PID/stat. The name in field 2 may hold anything, parentheses and blanks too. */
function startTimeOf(pid: number): bigint | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTime = fields[19];
    return startTime === undefined ? undefined : BigInt(startTime);
  } catch {
    return undefined;
  }
}

/** struct sockaddr_un without padding: its length is part of an abstract name. */
function unixAddress(address: string): Buffer {
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return address.startsWith('@')
    ? Buffer.concat([family, Buffer.from(`\0${address.slice(1)}`)])
    : Buffer.concat([family, Buffer.from(`${address}\0`)]);
}
