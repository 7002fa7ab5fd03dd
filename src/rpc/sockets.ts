/** Where the daemon listens unless told otherwise, and so where its clients look for it. */

import { homedir } from 'node:os';
import { join } from 'node:path';

/** libvirt's clients look for the xen driver's own daemon first, then for the one that has all drivers. */
export const XEN_SOCKETS = ['/run/libvirt/virtxend-sock', '/run/libvirt/libvirt-sock'] as const;

/** Where the embedded host, `test:///default`, keeps its files: root has the system's folder, others their own. */
export function embeddedHome(): string {
  const data = process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share');
  return process.getuid?.() === 0 ? '/var/lib/xlsnap/test' : join(data, 'xlsnap/test');
}

/** The embedded host's socket. */
export function embeddedSocket(): string {
  const run = process.env.XDG_RUNTIME_DIR;
  return run ? join(run, 'xlsnap/libvirt-sock') : join(embeddedHome(), 'libvirt-sock');
}
