/** The sockets that the daemon listens on by default, and that its clients try. */

import { homedir } from 'node:os';
import { basename, join } from 'node:path';

/** libvirt's clients try the xen driver's own daemon first, then the one with all drivers. */
export const XEN_SOCKETS = ['/run/libvirt/virtxend-sock', '/run/libvirt/libvirt-sock'] as const;

/** Where clients of `qemu:///system` look first. xlsnapd listens there only if the administrator has asked for it. */
export const QEMU_SOCKET = '/run/libvirt/virtqemud-sock';

/** True for that socket and its read-only one, wherever they are. */
export function isQemuSocket(path: string): boolean {
  return basename(path).replace(/-ro$/, '') === basename(QEMU_SOCKET);
}

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
