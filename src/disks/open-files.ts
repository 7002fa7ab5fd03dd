/**
 * Whether images are the files that the device model has open: it opens a base again by its path when that gets an overlay, or
 * when it is merged into, and would go on with another file that was put there since (rsync, or qemu-img convert and mv).
 */

import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../errors.ts';
import { answering, statIfThere } from '../files/answering.ts';
import { shellCommand } from '../model/messages/shell-command.ts';
import { fileKey, keyOf, REMOVED } from './file-key.ts';

/** __SO_ACCEPTCON in /proc/net/unix. */
const LISTENS = 0x10000;
/** Of qemu-system-i386, qemu-storage-daemon and the like (proc(5), comm). */
const QEMU = /^qemu-/;

/** Files and block devices of a process: by key (file-key.ts), the name in /proc that leads to each. */
type OpenFiles = ReadonlyMap<string, { readonly path: string; readonly name: string }>;

/**
 * Refuses (OPERATION_INVALID) images of disks at whose paths there are other files than the device model has open. Accepts
 * what cannot be known: a device model of another namespace, and a path at which nothing is.
 */
export async function requireOpenImages(
  socket: string,
  images: readonly { readonly disk: string; readonly path: string }[],
): Promise<void> {
  const pid = await processBehind(socket);
  const open = pid === undefined ? undefined : await openFiles(pid);
  if (!open) return;
  for (const { disk, path } of images) {
    if (!(await statIfThere(path)) || open.has(await fileKey(path))) continue;
    const kept = [...open.values()].find(({ name }) => name === `${path}${REMOVED}`);
    const wayOut = kept
      ? `that one was removed, and is lost when the guest ends; to keep what it holds, pause the guest and run: ${shellCommand('cp', kept.path, `${path}.kept`)}`
      : 'put that one back';
    throw new LibvirtError(
      'OPERATION_INVALID',
      `the file at '${path}' is not the one that the guest has open as image of disk '${disk}': ${wayOut}`,
    );
  }
}

/** The pid of the QEMU that listens at the socket; undefined if it cannot be seen from here. */
async function processBehind(socket: string): Promise<string | undefined> {
  const link = await listenerAt(socket);
  if (link === undefined) return undefined;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (!QEMU.test(await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => ''))) continue;
    for (const path of await descriptors(pid)) if ((await readlink(path).catch(() => '')) === link) return pid;
  }
  return undefined;
}

/** `socket:[INODE]`, the name that descriptors of the listening socket have. */
async function listenerAt(socket: string): Promise<string | undefined> {
  const folder = await realpath(dirname(socket)).catch(() => undefined);
  const table = await readFile('/proc/net/unix', 'utf8').catch(() => '');
  for (const line of table.split('\n').slice(1)) {
    const [, flags = '0', inode, path] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +(\d+) (\/.*)$/.exec(line) ?? [];
    if (path === undefined || !(Number.parseInt(flags, 16) & LISTENS) || basename(path) !== basename(socket)) continue;
    if ((await realpath(dirname(path)).catch(() => undefined)) === folder) return `socket:[${inode}]`;
  }
  return undefined;
}

/** Undefined if they may not be looked at: the process is another user's. */
async function openFiles(pid: string): Promise<OpenFiles | undefined> {
  const paths = await descriptors(pid);
  if (paths.length === 0) return undefined;
  const files = new Map<string, { readonly path: string; readonly name: string }>();
  for (const path of paths) {
    const name = await readlink(path).catch(() => '');
    if (!name.startsWith('/')) continue;
    const found = await answering(name, () => stat(path, { bigint: true }).catch(() => undefined));
    if (found?.isFile() || found?.isBlockDevice()) files.set(await keyOf(found), { path, name });
  }
  return files;
}

async function descriptors(pid: string): Promise<readonly string[]> {
  const folder = `/proc/${pid}/fd`;
  return (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
}
