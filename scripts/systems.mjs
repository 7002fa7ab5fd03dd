// Root folders of other systems than this machine's, made by mmdebstrap once and kept in the user's cache. Tests boot hosts of their
// own on them (test/support/daemons/systemd-host.ts), or are run in them; nothing writes to them.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DOM0_PACKAGES } from '../test/lab/host/requirements.mjs';
import { PACKAGES, ROOT } from './setup.mjs';

/** Debian's names of the systems. */
export const SYSTEMS = ['trixie', 'forky'];

/** Those on which a part of the tests belongs to `npm test`; the others are for every night. */
export const RELEASED_SYSTEMS = ['trixie'];

/** Tests on hosts of their own, where nothing is this machine's but the package. */
export const HOST_TESTS = ['cockpit', 'deb', 'install', 'polkit'].map((name) => `test/long/${name}.test.ts`);

/** Tests in a root folder, where the installed libvirt, QEMU and Node are the system's. */
export const FAST_TESTS = ['unit', 'property', 'integration', 'hostile'].map((kind) => `test/${kind}`);

/**
 * But for those that make packages of this checkout with npm and git, which no root folder has: what other systems do with the
 * packages, HOST_TESTS show.
 */
export const PACKING_TESTS = ['integration/deb', 'integration/package', 'integration/readme', 'hostile/package'].map(
  (name) => `test/${name}.test.ts`,
);

/** `npm run demo`, started without npm. */
export const DEMO = ['node', 'scripts/demo.mjs'];

/**
 * Of these, what `npm test` runs: what differs between systems most. In a root folder, what depends on libvirt, QEMU and libxml2;
 * on hosts, who may enter; on its real Xen, a guest that is saved and comes back.
 */
export const NPM_TEST_PART = {
  root: [
    ...['test/unit/xml', 'test/unit/disks', 'test/unit/dbus'],
    ...['test/integration/standalone.test.ts', 'test/integration/embedded.test.ts'],
  ],
  hosts: ['test/long/polkit.test.ts', 'test/long/cockpit.test.ts'],
  // As much as there is time for: emulated, its first guest takes minutes.
  lab: { paths: ['test/lab/snapshots.test.ts'], names: ['pv guest goes on counting after a snapshot'] },
};

/** What tests need, with the system's own Node, service manager and bus. */
const FOR_TESTS = [...PACKAGES.test, 'dbus', 'nodejs', 'procps', 'systemd-sysv'];
/** What the lab's dom0 needs besides. Not all of it can be installed on a system that is not yet released. */
const FOR_DOM0 = [...DOM0_PACKAGES, 'iproute2', 'kmod'];

/** Lists of a system that is not yet released are valid for a week; a mirror may have kept them for longer. */
const CHECKED_ONCE = '--aptopt=Acquire::Check-Valid-Until "false"';

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'xlsnap/systems');

/** The root folder that the lab's dom0 is made of; '' if that is this machine's own. */
export function labRoot(name) {
  const own = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (name === undefined || name === own) return '';
  const known = [own, ...RELEASED_SYSTEMS];
  if (!known.includes(name)) throw new Error(`XLSNAP_LAB_SYSTEM: ${known.join(' or ')}, not '${name}'`);
  return systemRoot(name);
}

/** Returns the root folder of a system. It is made if there is none, or if it has other packages than are needed now. */
export function systemRoot(name) {
  const root = join(CACHE, name);
  const included = [...FOR_TESTS, ...(RELEASED_SYSTEMS.includes(name) ? FOR_DOM0 : [])];
  const packages = [...new Set(included)].toSorted().join('\n');
  if (existsSync(root) && contentOf(`${root}.packages`) === packages) return root;
  mkdirSync(CACHE, { recursive: true });
  const scratch = mkdtempSync(join(CACHE, `${name}-`));
  try {
    const made = join(scratch, 'root');
    const dpkg = ['--dpkgopt=force-unsafe-io', '--dpkgopt=path-exclude=/usr/share/locale/*'];
    const words = [
      '--quiet',
      '--variant=apt',
      ...dpkg,
      CHECKED_ONCE,
      `--include=${packages.replaceAll('\n', ',')}`,
      name,
      made,
    ];
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

/**
 * Shell code: the files of a system under an overlay, which leaves the system as it is, as the folder in which what follows runs,
 * with proc, sys, dev and an empty run. $1: a scratch folder. $2: the system's root folder.
 */
export const IN_OVERLAY = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir run/old
`;

/** Shell code: makes that folder the root. */
export const PIVOT = `
pivot_root . run/old
umount -l run/old
`;

/**
 * With the checkout and the documents beside it at their own places, and processes apart; the first one, sh, reaps those whose
 * parents have gone. $3: the checkout. $4: a folder for results. Then the words of the program.
 */
const ENTER = `
${IN_OVERLAY}
mount -t tmpfs tmpfs tmp
for folder in "$3" "$3/../shared" "$4"; do
  mkdir -p ".$folder"
  mount --bind "$folder" ".$folder"
done
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
${PIVOT}
cd "$3"
shift 4
"$@"
exit $?
`;

/** Runs a program in a system's root folder, in this checkout; returns its exit status. `results`: a folder that it may write to. */
export async function runIn(name, results, words, environment) {
  const scratch = mkdtempSync(join(tmpdir(), `xlsnap-${name}-`));
  const places = [scratch, systemRoot(name), ROOT, results];
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LC_ALL: 'C.UTF-8', ...environment };
  try {
    const options = ['--kill-child', '--mount', '--pid', '--fork', 'sh', '-c', ENTER, name, ...places, ...words];
    const child = spawn('unshare', options, { stdio: ['ignore', 'ignore', 'inherit'], env });
    const [status] = await once(child, 'exit');
    return status;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function contentOf(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
