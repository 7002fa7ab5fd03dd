/** The files that an installation adds to a host besides the package: those of packaging/ with this host's paths. */

import { lstat, readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { SocketAccess } from './socket-access.ts';

/** A file or link that `xlsnap install` makes. */
export type Installed = InstalledFile | InstalledLink;

interface InstalledFile {
  readonly kind: 'file';
  /** Absolute, on the host that it is for. */
  readonly path: string;
  /** Where a Debian package brings it; undefined: it never does. */
  readonly packaged: string | undefined;
  readonly text: string;
  readonly purpose: string;
}

interface InstalledLink {
  readonly kind: 'link';
  readonly path: string;
  /** The unit of a Debian package, which systemd's own tools enable; undefined: it never brings it. */
  readonly packaged: string | undefined;
  readonly target: string;
  readonly purpose: string;
}

/** The settings that differ between hosts: those of the sockets, and this package's programs, each with its arguments. */
interface HostFacts extends Pick<SocketAccess, 'write' | 'readOnly'> {
  readonly daemon: readonly string[];
  readonly xlsnap: readonly string[];
}

/** Of this very package. */
export const PACKAGE_FOLDER = resolve(import.meta.dirname, '../../..');

const PACKAGING = join(PACKAGE_FOLDER, 'packaging');
const UNITS = '/etc/systemd/system';
const BUS_POLICIES = '/etc/dbus-1/system.d';
const PACKAGED_UNITS = '/usr/lib/systemd/system';
const PACKAGED_BUS_POLICIES = '/usr/share/dbus-1/system.d';

interface Template {
  readonly from: string;
  readonly to: string;
  readonly packaged?: string;
  readonly purpose: string;
}

/** A link that `systemctl enable` would make from a unit's [Install] section. */
interface Enabled {
  readonly unit: string;
  readonly by: string;
  readonly packaged?: string;
}

/** Files by their place in packaging/, in the order in which they are written. */
const FILES: readonly Template[] = [
  { from: 'systemd/xlsnapd.service', to: UNITS, packaged: PACKAGED_UNITS, purpose: 'the daemon' },
  {
    from: 'systemd/xlsnapd.socket',
    to: UNITS,
    packaged: PACKAGED_UNITS,
    purpose: 'where clients of xen:///system connect',
  },
  {
    from: 'systemd/xlsnapd-ro.socket',
    to: UNITS,
    packaged: PACKAGED_UNITS,
    purpose: 'where read-only clients connect',
  },
  {
    from: 'systemd/virtxend.socket.d/xlsnapd.conf',
    to: `${UNITS}/virtxend.socket.d`,
    purpose: 'virtxend, if there is one, runs behind xlsnapd',
  },
  {
    from: 'systemd/virtxend-ro.socket.d/xlsnapd.conf',
    to: `${UNITS}/virtxend-ro.socket.d`,
    purpose: 'the same for read-only clients',
  },
  {
    from: 'systemd/xlsnap-rotate@.service',
    to: UNITS,
    packaged: PACKAGED_UNITS,
    purpose: 'rolling snapshots of a guest',
  },
  {
    from: 'systemd/xlsnap-rotate@.timer',
    to: UNITS,
    packaged: PACKAGED_UNITS,
    purpose: 'when they are taken, once it is enabled for a guest',
  },
  {
    from: 'org.xlsnap.conf',
    to: BUS_POLICIES,
    packaged: PACKAGED_BUS_POLICIES,
    purpose: 'who may speak with xlsnapd on the system bus',
  },
];

const ENABLED: readonly Enabled[] = [
  { unit: 'xlsnapd.service', by: 'multi-user.target', packaged: PACKAGED_UNITS },
  { unit: 'xlsnapd.socket', by: 'sockets.target', packaged: PACKAGED_UNITS },
  { unit: 'xlsnapd-ro.socket', by: 'sockets.target', packaged: PACKAGED_UNITS },
];

/** With --cockpit: the socket of qemu:///system, the only one that cockpit's clients ask. */
const COCKPIT: readonly Template[] = [
  { from: 'systemd/xlsnapd-cockpit.socket', to: UNITS, purpose: 'where clients of qemu:///system connect' },
  { from: 'systemd/xlsnapd-cockpit-ro.socket', to: UNITS, purpose: 'where their read-only clients connect' },
];
const COCKPIT_ENABLED: readonly Enabled[] = [
  { unit: 'xlsnapd-cockpit.socket', by: 'sockets.target' },
  { unit: 'xlsnapd-cockpit-ro.socket', by: 'sockets.target' },
];

/** True if something has this path, be it a link that leads nowhere. */
export async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

/** Returns the commands of this package's programs, run by this Node: neither is searched in PATH. */
export function programs(upstream: string | undefined): Pick<HostFacts, 'daemon' | 'xlsnap'> {
  const program = (main: string) => [process.execPath, resolve(import.meta.dirname, '../..', main)];
  const options = upstream === undefined ? [] : ['--upstream', upstream];
  return { daemon: [...program('daemon/main.js'), ...options], xlsnap: program('cli/main.js') };
}

/** Returns what every host gets, in the order of writing; it is removed in the opposite order. */
export async function installedOn(facts: HostFacts): Promise<readonly Installed[]> {
  return await filled(FILES, ENABLED, facts);
}

/** Returns what a host gets besides if its clients of qemu:///system are served, too. */
export async function installedForCockpit(facts: HostFacts): Promise<readonly Installed[]> {
  return await filled(COCKPIT, COCKPIT_ENABLED, facts);
}

/** Returns the links of the rotations that an administrator has enabled: their timers end with the installation. */
export async function enabledRotations(on: (path: string) => string): Promise<readonly Installed[]> {
  const folder = `${UNITS}/timers.target.wants`;
  const names = await readdir(on(folder)).catch(() => []);
  return names
    .filter((name) => /^xlsnap-rotate@.+\.timer$/.test(name))
    .map((name) => {
      const target = `${UNITS}/xlsnap-rotate@.timer`;
      return { kind: 'link', path: join(folder, name), packaged: undefined, target, purpose: 'rolling snapshots' };
    });
}

async function filled(
  templates: readonly Template[],
  enabled: readonly Enabled[],
  { write, readOnly, daemon, xlsnap }: HostFacts,
): Promise<readonly Installed[]> {
  const values: Readonly<Record<string, string>> = {
    '@XLSNAPD@': daemon.map(unitWord).join(' '),
    '@XLSNAP@': xlsnap.map(unitWord).join(' '),
    '@GROUP@': write.group,
    '@MODE@': write.mode,
    '@ROGROUP@': readOnly.group,
    '@ROMODE@': readOnly.mode,
  };
  const files = await Promise.all(
    templates.map(async ({ from, to, packaged, purpose }): Promise<Installed> => {
      const template = await readFile(join(PACKAGING, from), 'utf8');
      const text = template.replaceAll(/@[A-Z]+@/g, (name) => values[name] ?? name);
      const name = basename(from);
      return { kind: 'file', path: join(to, name), packaged: packaged && join(packaged, name), text, purpose };
    }),
  );
  const links = enabled.map(
    ({ unit, by, packaged }): Installed => ({
      kind: 'link',
      path: `${UNITS}/${by}.wants/${unit}`,
      packaged: packaged && join(packaged, unit),
      target: `${UNITS}/${unit}`,
      purpose: `${unit} starts with the host`,
    }),
  );
  return [...files, ...links];
}

/**
 * A word of ExecStart= as systemd reads it (systemd.service(5), COMMAND LINES): itself, or quoted. Refuses control
 * characters: a line of a unit cannot hold them.
 */
function unitWord(word: string): string {
  if (/\p{Cc}/u.test(word)) {
    throw new LibvirtError('INVALID_ARG', `a unit cannot hold control characters, as in ${JSON.stringify(word)}`);
  }
  const literal = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(literal) ? `"${literal.replace(/["\\]/g, '\\$&')}"` : literal;
}
