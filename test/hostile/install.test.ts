/** `xlsnap install` makes root run this package: it refuses one that others can change. */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
const NOBODY = 65534;
const run = promisify(execFile);

let home: string;
const folder = () => join(home, 'lib/xlsnap');

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnap-install-'));
  await mkdir(join(home, 'host/etc'), { recursive: true });
  await writeFile(join(home, 'host/etc/group'), 'libvirt:x:1:\n');
  await mkdir(folder(), { recursive: true });
  for (const part of ['dist', 'packaging', 'schemas', 'package.json']) {
    await cp(join(ROOT, part), join(folder(), part), { recursive: true });
  }
  await mkdir(join(folder(), 'node_modules'));
  for (const name of Object.keys(dependencies)) {
    await symlink(join(ROOT, 'node_modules', name), join(folder(), 'node_modules', name));
  }
});

const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

afterEach(async () => await rm(home, { recursive: true }));

const install = async (...words: readonly string[]) =>
  (await run(process.execPath, [join(folder(), 'dist/cli/main.js'), 'install', '--root', join(home, 'host'), ...words]))
    .stdout;

test('a package that only root can change is installed, also below a sticky folder', async () => {
  expect(await install()).toContain('wrote /etc/systemd/system/xlsnapd.service');
});

test.each([
  ['a file that every user can write to', 'lib/xlsnap/dist/daemon/main.js', 0o666, 0, 0, 'every user can write to it'],
  [
    'a folder that a group can write to',
    'lib/xlsnap/dist/rpc',
    0o775,
    0,
    NOBODY,
    `group ${NOBODY}, or a user in its access list, can write to it`,
  ],
  [
    'S14: a file with an access list, which shows in the bits of group 0',
    'lib/xlsnap/dist/errors.js',
    0o664,
    0,
    0,
    'access list',
  ],
  ['S14: a unit that would be written', 'lib/xlsnap/packaging/systemd/xlsnapd.service', 0o646, 0, 0, 'every user can'],
  ['S14: a folder of the bus policy', 'lib/xlsnap/packaging', 0o757, 0, 0, 'every user can'],
  ['a file of another user', 'lib/xlsnap/dist/errors.js', 0o644, NOBODY, NOBODY, `belongs to user ${NOBODY}`],
  ['a folder above it of another user', 'lib', 0o755, NOBODY, 0, `belongs to user ${NOBODY}`],
  ['a folder above it that every user can write to', 'lib', 0o777, 0, 0, 'every user can write to it'],
  ["a sticky folder that is another user's", 'lib', 0o1777, NOBODY, 0, `belongs to user ${NOBODY}`],
])('%s is refused by name, and nothing is written', async (_, path, mode, uid, gid, reason) => {
  await chown(join(home, path), uid, gid);
  await chmod(join(home, path), mode);
  const refused = install();
  await expect(refused).rejects.toThrow(`error: operation forbidden: '${join(home, path)}'`);
  await expect(refused).rejects.toThrow(reason);
  await expect(install('--dry-run')).rejects.toThrow(reason);
  expect(await readdir(join(home, 'host/etc'))).toEqual(['group']);
});

test('what a link in the package leads to is looked at with all that is in it; a link that leads nowhere is refused', async () => {
  const [elsewhere, link] = [join(home, 'elsewhere'), join(folder(), 'node_modules/linked')];
  await mkdir(join(elsewhere, 'lib'), { recursive: true });
  await symlink(elsewhere, link);
  await symlink('..', join(elsewhere, 'lib/loop'));
  await writeFile(join(elsewhere, 'lib/main.js'), '');
  await install('--dry-run');
  await chmod(join(elsewhere, 'lib/main.js'), 0o666);
  await expect(install()).rejects.toThrow(`'${join(elsewhere, 'lib/main.js')}': every user can write to it`);
  await rm(elsewhere, { recursive: true });
  await expect(install()).rejects.toThrow(`'${link}' is a link that leads nowhere`);
});

test('a path that cannot stand in a line of a unit is refused', async () => {
  await expect(install('--upstream', '/run/a\nExecStartPre=/bin/true')).rejects.toThrow(
    'a unit cannot hold control characters, as in "/run/a\\nExecStartPre=/bin/true"',
  );
});
