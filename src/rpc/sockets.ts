/** The sockets that the daemon listens on by default, and that its clients try. */

import { homedir } from 'node:os';
import { join } from 'node:path';

/** libvirt's clients try the xen driver's own daemon first, then the one with all drivers. */
export const XEN_SOCKETS = ['/run/libvirt/virtxend-sock', '/run/libvirt/libvirt-sock'] as const;

/** The folder of the embedded host, `test:///default`: the system's for root, an own one for every other user. */
export function embeddedHome(): string {
  const data = process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share');
  return process.getuid?.() === 0 ? '/var/lib/xlsnap/test' : join(data, 'xlsnap/test');
}

/** The embedded host's socket. */
export function embeddedSocket(): string {
  const run = process.env.XDG_RUNTIME_DIR;
  return run ? join(run, 'xlsnap/libvirt-sock') : join(embeddedHome(), 'libvirt-sock');
}
