/**
 * Refuses programs of a root service that others than root can change: Node, the package, and every folder on the way.
 */

import type { Stats } from 'node:fs';
import { lstat, readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';

const STICKY = 0o1000;
const GROUP_MAY_WRITE = 0o020;
const OTHERS_MAY_WRITE = 0o002;

/** The parts of the package that the daemon and the installation read: units come from packaging/. */
const PARTS = ['package.json', 'dist', 'node_modules', 'packaging', 'schemas'] as const;

/** OPERATION_DENIED, naming the first file or folder that somebody else than root can change, and the way out. */
export async function requireRootOnly(node: string, packageFolder: string): Promise<void> {
  await requireWay(node);
  await requireWay(packageFolder);
  for (const part of PARTS) await requireTree(join(packageFolder, part));
}

/** The file or folder itself and those above it. In a sticky folder (/tmp) others cannot replace what is root's. */
async function requireWay(path: string): Promise<void> {
  requireRoots(path, await lstat(path));
  for (let child = path; dirname(child) !== child; child = dirname(child)) {
    const above = await lstat(dirname(child));
    if (above.uid !== 0 || (above.mode & STICKY) === 0) requireRoots(dirname(child), above);
  }
}

/** What a link leads to is run as well, with all that is in it. `seen`: what links have led to so far. */
async function requireTree(path: string, seen = new Set<string>()): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (found.isSymbolicLink()) {
    const target = await realpath(path).catch(() => {
      throw denied(
        `'${path}' is a link that leads nowhere: a user who makes a file there could run commands as root; remove it`,
      );
    });
    if (seen.has(target)) return;
    seen.add(target);
    await requireWay(target);
    await requireTree(target, seen);
    return;
  }
  requireRoots(path, found);
  if (!found.isDirectory()) return;
  await Promise.all((await readdir(path)).map((name) => requireTree(join(path, name), seen)));
}

/** The bits of the group are also those that an access list (setfacl) gives at most, to whomever: group 0 is no exception. */
function requireRoots(path: string, { uid, gid, mode }: Stats): void {
  const risk = 'a user who can change it could run commands as root';
  const advice =
    'install Node and the package where only root can write (npm install --global --prefix /usr/local xlsnap)';
  if (uid !== 0) throw denied(`'${path}' belongs to user ${uid}: ${risk}; ${advice}`);
  const open =
    (mode & OTHERS_MAY_WRITE) !== 0
      ? 'every user can write to it'
      : (mode & GROUP_MAY_WRITE) !== 0
        ? `group ${gid}, or a user in its access list, can write to it`
        : undefined;
  if (open !== undefined) throw denied(`'${path}': ${open}, and ${risk}; run: ${shellCommand('chmod', 'go-w', path)}`);
}

function denied(text: string): LibvirtError {
  return new LibvirtError('OPERATION_DENIED', text);
}
