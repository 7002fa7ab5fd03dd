/** What installs libxenlight on this system. No program is asked: the helper process may have no child. */

import { readFile } from 'node:fs/promises';

/** By ID of os-release(5). Debian's own name of the library changes with Xen's version; libvirt's xen driver depends on it. */
const INSTALL: Readonly<Record<string, string>> = {
  debian: 'apt install libvirt-daemon-driver-xen',
  fedora: 'dnf install xen-libs',
  suse: 'zypper install xen-libs',
  alpine: 'apk add xen-libs',
};

/** Returns the command that installs libxenlight, as root; undefined on a system that is not in the table. */
export async function libxlInstallCommand(osRelease = '/etc/os-release'): Promise<string | undefined> {
  const text = await readFile(osRelease, 'utf8').catch(() => '');
  const words = (key: string): readonly string[] =>
    new RegExp(`^${key}=["']?([^"'\\n]*)`, 'm').exec(text)?.[1]?.split(' ') ?? [];
  const system = [...words('ID'), ...words('ID_LIKE')].find((id) => Object.hasOwn(INSTALL, id));
  return system === undefined ? undefined : INSTALL[system];
}
