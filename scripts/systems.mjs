// Root folders of other systems than this machine's, made by mmdebstrap once and kept in the user's cache. Tests boot hosts of their
// own on them (test/support/daemons/systemd-host.ts); nothing writes to them.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PACKAGES } from './setup.mjs';

/** Debian's names of the systems. */
export const SYSTEMS = ['trixie'];

/** Tests on hosts of their own, where nothing is this machine's but the package. */
export const HOST_TESTS = ['cockpit', 'deb', 'install', 'polkit'].map((name) => `test/long/${name}.test.ts`);

/** What these tests need, with the system's own Node, service manager and bus. */
const INCLUDED = [...PACKAGES.test, 'dbus', 'nodejs', 'procps', 'systemd-sysv'].toSorted();

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'xlsnap/systems');

/** Returns the root folder of a system. It is made if there is none, or if it has other packages than are needed now. */
export function systemRoot(name) {
  const root = join(CACHE, name);
  const packages = INCLUDED.join('\n');
  if (existsSync(root) && contentOf(`${root}.packages`) === packages) return root;
  mkdirSync(CACHE, { recursive: true });
  const scratch = mkdtempSync(join(CACHE, `${name}-`));
  try {
    const made = join(scratch, 'root');
    const dpkg = ['--dpkgopt=force-unsafe-io', '--dpkgopt=path-exclude=/usr/share/locale/*'];
    const words = ['--quiet', '--variant=apt', ...dpkg, `--include=${INCLUDED.join(',')}`, name, made];
    const { status, error } = spawnSync('mmdebstrap', words, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw error ?? new Error(`mmdebstrap failed: there is no root folder of ${name}`);
    rmSync(`${root}.packages`, { force: true });
    rmSync(root, { recursive: true, force: true });
    renameSync(made, root);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  writeFileSync(`${root}.packages`, packages);
  return root;
}

function contentOf(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
