/** The Debian package: what is in it. It is installed, upgraded and removed in test/long/deb.test.ts. */

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { buildDeb } from '../../scripts/deb.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';
const run = promisify(execFile);
jest.setTimeout(180_000);

let folder: string;
let deb: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xlsnap-deb-test-'));
  deb = await buildDeb(ARCHITECTURE, folder);
  await run('dpkg-deb', ['--raw-extract', deb, join(folder, 'tree')]);
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

const inTree = (path: string) => join(folder, 'tree', path);
const listed = async () =>
  (await run('dpkg-deb', ['--contents', deb], { maxBuffer: 2 ** 26 })).stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [mode = '', owner = '', , , , path = '', , target] = line.split(/\s+/);
      return { mode, owner, path, target };
    });

test('has the version of package.json, and needs Node, libvirt’s xen driver or Xen’s tools, and qemu-img', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  expect(deb).toBe(join(folder, `xlsnap_${version}_${ARCHITECTURE}.deb`));
  const { stdout } = await run('dpkg-deb', ['--field', deb, 'Version', 'Depends']);
  expect(stdout).toContain(`Version: ${version}\n`);
  for (const needed of ['nodejs (>= 20.19)', 'libvirt-daemon-driver-xen | xen-utils-common', 'qemu-utils']) {
    expect(stdout).toContain(needed);
  }
});

test('has everything in its place, owned by root', async () => {
  const files = await listed();
  expect(files.filter(({ owner }) => owner !== 'root/root')).toEqual([]);
  expect(files.filter(({ mode }) => /^[^l]....w|^[^l].......w/.test(mode))).toEqual([]);
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      './usr/lib/xlsnap/dist/daemon/main.js',
      `./usr/lib/xlsnap/node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
      './usr/lib/systemd/system/xlsnapd.service',
      './usr/lib/systemd/system/xlsnapd.socket',
      './usr/lib/systemd/system/xlsnapd-ro.socket',
      './usr/lib/systemd/system/xlsnap-rotate@.service',
      './usr/lib/systemd/system/xlsnap-rotate@.timer',
      './usr/share/dbus-1/system.d/org.xlsnap.conf',
      './usr/share/man/man1/xlsnap.1.gz',
      './usr/share/man/man5/xl.snapshot.cfg.5.gz',
      './usr/share/man/man8/xlsnapd.8.gz',
      './usr/share/bash-completion/completions/xlsnap',
      './usr/share/fish/vendor_completions.d/xlsnap.fish',
      './usr/share/zsh/vendor-completions/_xlsnap',
      './usr/share/doc/xlsnap/copyright',
      './usr/share/doc/xlsnap/changelog.gz',
    ]),
  );
  expect(files.filter(({ path }) => path.startsWith('./usr/bin/xlsnap')).map(({ target }) => target)).toEqual([
    '../lib/xlsnap/dist/cli/main.js',
    '../lib/xlsnap/dist/daemon/main.js',
  ]);
  expect(paths.filter((path) => /usocket|node-gyp|xlsnap\/(src|test|fixtures)\/|\.ts$/.test(path))).toEqual([]);
});

test('has the production dependencies of the lock file, and no others', async () => {
  const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { dev?: boolean; os?: readonly string[]; cpu?: readonly string[] }>>;
  };
  const fits = (wanted: readonly string[] | undefined, own: string) => wanted === undefined || wanted.includes(own);
  const locked = Object.entries(packages)
    .filter(([path, { dev, os, cpu }]) => path && !dev && fits(os, 'linux') && fits(cpu, process.arch))
    .map(([path]) => path);
  const found = (await listed())
    .map(({ path }) => /^\.\/usr\/lib\/xlsnap\/(node_modules\/.*)\/package\.json$/.exec(path)?.[1])
    .filter((path) => path !== undefined);
  expect(found.toSorted()).toEqual(locked.toSorted());
});

test('its programs run, and what they depend on can be loaded', async () => {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const imports = Object.keys(dependencies).map((name) => `await import('${name}');`);
  const script = ['--input-type=module', '--eval', imports.join(' ')];
  await run(process.execPath, script, { cwd: inTree('usr/lib/xlsnap') });
  const { stdout } = await run(inTree('usr/bin/xlsnapd'), ['--version']);
  expect(stdout).toMatch(/^xlsnapd \d/);
  expect((await run(inTree('usr/bin/xlsnap'), ['help', 'tree'])).stdout).toContain('tree');
});

test('its units run the programs that it brings', async () => {
  const unit = await readFile(inTree('usr/lib/systemd/system/xlsnapd.service'), 'utf8');
  expect(unit).toContain('\nExecStart=/usr/bin/node /usr/lib/xlsnap/dist/daemon/main.js\n');
  expect(unit).not.toMatch(/@[A-Z]+@/);
  const rotation = await readFile(inTree('usr/lib/systemd/system/xlsnap-rotate@.service'), 'utf8');
  expect(rotation).toContain('\nExecStart=/usr/bin/node /usr/lib/xlsnap/dist/cli/main.js rotate ');
});

test('for the other processor it has the same files, with the binary of that one', async () => {
  const other = ARCHITECTURE === 'arm64' ? 'amd64' : 'arm64';
  const tree = join(folder, other);
  await run('dpkg-deb', ['--raw-extract', await buildDeb(other, folder), tree]);
  const filesOf = async (root: string) =>
    (await readdir(root, { recursive: true }))
      .map((path) => path.replaceAll(/linux[-_](arm64|x64)/g, 'CPU'))
      .toSorted();
  expect(await filesOf(tree)).toEqual(await filesOf(inTree('')));
  const binaries = (await readdir(tree, { recursive: true })).filter((path) => path.endsWith('.node'));
  // e_machine of elf(5): EM_AARCH64, EM_X86_64.
  const machines = await Promise.all(binaries.map(async (path) => (await readFile(join(tree, path))).readUInt16LE(18)));
  expect(machines).toEqual([other === 'arm64' ? 183 : 62]);
  expect(await readFile(join(tree, 'DEBIAN/control'), 'utf8')).toContain(`\nArchitecture: ${other}\n`);
});
