/** The command that installs libxenlight, by system. */

import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { libxlInstallCommand } from '../../../../src/libxl/helper/libxl-package.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

test.each([
  [
    'Debian',
    'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n',
    'apt install libvirt-daemon-driver-xen',
  ],
  ['Ubuntu', 'ID=ubuntu\nID_LIKE=debian\n', 'apt install libvirt-daemon-driver-xen'],
  ['Fedora', 'ID=fedora\n', 'dnf install xen-libs'],
  ['Rocky', 'ID="rocky"\nID_LIKE="rhel centos fedora"\n', 'dnf install xen-libs'],
  ['openSUSE', 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', 'zypper install xen-libs'],
  ['Alpine', 'ID=alpine\n', 'apk add xen-libs'],
  ['a system that is not in the table', 'ID=plan9\n', undefined],
  ['a name of every object', 'ID=constructor\n', undefined],
])('%s', async (_system, text, expected) => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'os-release');
  await writeFile(path, text);
  expect(await libxlInstallCommand(path)).toBe(expected);
});

test('a system without os-release has none', async () => {
  expect(await libxlInstallCommand('/nonexistent/os-release')).toBeUndefined();
});

test("Debian's package brings the library of this very release", () => {
  const status = execFileSync('dpkg-query', ['--status', 'libvirt-daemon-driver-xen'], { encoding: 'utf8' });
  expect(status).toMatch(/^Depends: .*libxenmisc4\.\d+/m);
});
