// Makes a process of root another user's. Node's own setuid refuses if its libuv could use an io_uring, as Debian 13's.

import koffi from 'koffi';

/** Becomes that user, in the group of the same number. */
export function become(uid) {
  const libc = koffi.load('libc.so.6');
  for (const name of ['setgid', 'setuid']) {
    if (libc.func(`int ${name}(uint32_t id)`)(uid) !== 0) throw new Error(`${name}(${uid}) failed`);
  }
  if (process.getuid() !== uid || process.getgid() !== uid) throw new Error(`still user ${process.getuid()}`);
}
