// Installs everything that the project's commands need on a fresh Debian (12 or newer): npm packages, Debian packages, the build.
// Debian packages are installed if we are root; otherwise this prints the one line to run and stops.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { LAB_PACKAGES } from '../test/lab/host/requirements.mjs';

/** The project's folder. */
export const ROOT = join(import.meta.dirname, '..');

/** Lines of Node that are in long-term support, besides the oldest that we promise: versions of the npm package `node`. */
export const NODE_VERSIONS = ['22.23.3', '24.21.0'];

const DIST = join(ROOT, 'dist');

/** Debian packages, by the command that needs them. */
export const PACKAGES = {
  demo: ['libvirt-clients', 'qemu-system-common', 'qemu-utils'],
  test: [
    'bash-completion',
    'bsdutils',
    'dbus-daemon',
    'fish',
    'libglib2.0-bin',
    'libvirt-clients',
    'libvirt-daemon',
    'libvirt-daemon-driver-qemu',
    'libvirt-daemon-driver-xen',
    'libvirt-daemon-system',
    'libvirt-daemon-system-systemd',
    'libvirt-dbus',
    'libxml2-utils',
    'lintian',
    'locales',
    'man-db',
    'netcat-openbsd',
    'passwd',
    'polkitd',
    'python3-libvirt',
    'qemu-guest-agent',
    'qemu-system-common',
    'qemu-system-x86',
    'qemu-utils',
    'strace',
    'systemd',
    'util-linux-extra',
    'zsh',
  ],
  // Clients that are run on this machine's system alone.
  clients: ['golang-github-digitalocean-go-libvirt-dev', 'golang-go', 'openssh-client', 'openssh-server', 'openssl'],
  lab: [...LAB_PACKAGES, 'procps'],
  systems: ['debian-archive-keyring', 'mmdebstrap'],
};

/**
 * Installs npm packages if node_modules is missing or differs from the lock, and the Debian packages of `groups`.
 * @param {readonly (keyof typeof PACKAGES)[]} groups
 */
export function setup(...groups) {
  installNpmPackages();
  installDebianPackages([...new Set(groups.flatMap((group) => PACKAGES[group]))]);
}

/** Compiles src to dist, and removes files whose source is gone from there: they would get into the package. */
export function build() {
  run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json']);
  const compiled = /^(.*?)(?:\.d\.ts|\.js)$/;
  for (const file of readdirSync(DIST, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())) {
    const path = relative(DIST, join(file.parentPath, file.name));
    const [, source] = compiled.exec(path) ?? [];
    if (path !== '.tsbuildinfo' && !existsSync(join(ROOT, `src/${source}.ts`))) rmSync(join(DIST, path));
  }
}

/** The command line that runs a program with this version of Node, which npm downloads once and keeps. */
export function onNode(version, ...words) {
  return ['npx', '--yes', `node@${version}`, ...words];
}

/** Runs a command in the project's folder with our own input and output; ends this process if it fails. */
export function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  if (error) fail(`cannot run ${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

function installNpmPackages() {
  const installed = join(ROOT, 'node_modules/.package-lock.json');
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const present = existsSync(installed) ? JSON.parse(readFileSync(installed, 'utf8')).packages : {};
  const missing = Object.entries(wanted).filter(
    ([path, { version, optional }]) => path !== '' && !optional && present[path]?.version !== version,
  );
  if (missing.length > 0) run('npm', ['ci', '--no-audit', '--no-fund']);
}

function installDebianPackages(packages) {
  const missing = packages.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const line = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) fail(`missing Debian packages; run as root:\n  ${line}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-q'], env);
  run('apt-get', line.split(' ').slice(1), env);
}

function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['--show', '--showformat=$' + '{Status}', name], { encoding: 'utf8' });
  return stdout?.trim() === 'install ok installed';
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

if (process.argv[1] === import.meta.filename) {
  setup(...process.argv.slice(2));
  if (process.argv.length === 2) build();
}
