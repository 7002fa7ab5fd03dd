/** A command in a mount namespace of its own. */

import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Where libvirt's clients look for libvirtd as root. */
const LIBVIRT_RUN = '/run/libvirt';

/** A shell command that sees `socket` where libvirt's own is otherwise. `folder` is made for it. */
export async function seeing(
  socket: string,
  folder: string,
  command: string,
): Promise<[program: string, args: readonly string[]]> {
  await mkdir(folder);
  await symlink(socket, join(folder, 'libvirt-sock'));
  const script = `mkdir -p ${LIBVIRT_RUN} && mount --bind ${folder} ${LIBVIRT_RUN} && exec ${command}`;
  return ['unshare', ['--mount', 'sh', '-c', script]];
}
