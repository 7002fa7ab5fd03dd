/** The files that an installation adds to a host besides the package: those of packaging/ with this host's paths. */

import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LibvirtError } from '../../errors.ts';

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
  /** The unit of a Debian package, which systemd's own tools enable. */
  readonly packaged: string;
  readonly target: string;
  readonly purpose: string;
}

/** The settings that differ between hosts. */
interface HostFacts {
  /** Group of the sockets. */
  readonly group: string;
  /** SocketMode= of the write and of the read-only socket. */
  readonly mode: string;
  readonly readOnlyMode: string;
  /** The daemon with its arguments. */
  readonly daemon: readonly string[];
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
    from: 'org.xlsnap.conf',
    to: BUS_POLICIES,
    packaged: PACKAGED_BUS_POLICIES,
    purpose: 'who may speak with xlsnapd on the system bus',
  },
];

/** The links that `systemctl enable` would make from the units' [Install] sections. */
const ENABLED: readonly { readonly unit: string; readonly by: string }[] = [
  { unit: 'xlsnapd.service', by: 'multi-user.target' },
  { unit: 'xlsnapd.socket', by: 'sockets.target' },
  { unit: 'xlsnapd-ro.socket', by: 'sockets.target' },
];

/** Returns the command of this package's daemon, run by this Node: neither is searched in PATH. */
export function daemonCommand(upstream: string | undefined): readonly string[] {
  const daemon = resolve(import.meta.dirname, '../../daemon/main.js');
  return [process.execPath, daemon, ...(upstream === undefined ? [] : ['--upstream', upstream])];
}

/** Returns everything in the order of writing; it is removed in the opposite order. */
export async function installedOn({ group, mode, readOnlyMode, daemon }: HostFacts): Promise<readonly Installed[]> {
  const values: Readonly<Record<string, string>> = {
    '@XLSNAPD@': daemon.map(unitWord).join(' '),
    '@GROUP@': group,
    '@MODE@': mode,
    '@ROMODE@': readOnlyMode,
  };
  const files = await Promise.all(
    FILES.map(async ({ from, to, packaged, purpose }): Promise<Installed> => {
      const template = await readFile(join(PACKAGING, from), 'utf8');
      const text = template.replaceAll(/@[A-Z]+@/g, (name) => values[name] ?? name);
      const name = basename(from);
      return { kind: 'file', path: join(to, name), packaged: packaged && join(packaged, name), text, purpose };
    }),
  );
  const links = ENABLED.map(
    ({ unit, by }): Installed => ({
      kind: 'link',
      path: `${UNITS}/${by}.wants/${unit}`,
      packaged: `${PACKAGED_UNITS}/${unit}`,
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
