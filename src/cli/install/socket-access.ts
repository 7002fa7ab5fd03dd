/** Who may connect to xlsnapd's sockets: those who may connect to the upstream's. */

import { readFile, stat } from 'node:fs/promises';
import { confOf, readAccessSettings } from '../../access/libvirtd-conf.ts';

/** Configuration files and sockets of libvirt's daemons, the modular one first: if it is there, it is the upstream. */
const VIRTXEND = '/run/libvirt/virtxend-upstream-sock';
const LIBVIRTD = '/run/libvirt/libvirt-sock';

/** The group that may use libvirt on this host, if it exists. */
const GROUP = 'libvirt';

/** SocketMode=, in octal, and SocketGroup= of a unit. */
export interface SocketSettings {
  readonly mode: string;
  readonly group: string;
}

/** For xlsnapd's units, and how the upstream lets its clients in. */
export interface SocketAccess {
  readonly write: SocketSettings;
  readonly readOnly: SocketSettings;
  /** For whom installs: what is true of xen:///system afterwards. */
  readonly note: string;
}

/**
 * Mode and group are those that the upstream's sockets have now, drop-ins of the administrator included. `onHost` is the
 * place of a path on the host that is installed to.
 */
export async function socketAccess(
  upstream: string | undefined,
  onHost: (path: string) => string,
): Promise<SocketAccess> {
  const daemon = upstream ?? ((await found(onHost(confOf(VIRTXEND)))) === undefined ? LIBVIRTD : VIRTXEND);
  const schemes = await readAccessSettings(onHost(confOf(daemon)));
  const groups = await groupsOf(onHost('/etc/group'));
  const common = [...groups.values()].includes(GROUP) ? GROUP : 'root';
  const like = async (socket: string, scheme: string) => {
    const { mode, gid } = (await found(onHost(socket))) ?? {
      mode: scheme === 'polkit' ? 0o666 : 0o660,
      gid: undefined,
    };
    const open = gid === undefined || (mode & EVERYBODY) !== 0;
    return { bits: mode & 0o777, group: open ? common : (groups.get(gid) ?? `${gid}`) };
  };
  const write = await like(daemon, schemes.write);
  const readOnly = await like(`${daemon}-ro`, schemes.readOnly);
  const who = (scheme: string, { bits, group }: { bits: number; group: string }, action: string): string => {
    const members = (bits & EVERYBODY) !== 0 ? undefined : `group ${group}`;
    if (scheme !== 'polkit') return members ?? 'all users';
    return `${members ? `those of ${members}` : 'users'} whom polkit grants ${action}`;
  };
  return {
    write: { mode: octal(write.bits), group: write.group },
    readOnly: { mode: octal(readOnly.bits), group: readOnly.group },
    note:
      `xen:///system is open to those who may use libvirt now (${confOf(daemon)}): root and ` +
      `${who(schemes.write, write, 'org.libvirt.unix.manage')}; read-only to ${who(schemes.readOnly, readOnly, 'org.libvirt.unix.monitor')}`,
  };
}

const EVERYBODY = 0o002;

const octal = (mode: number): string => `0${mode.toString(8).padStart(3, '0')}`;

async function found(path: string): Promise<{ readonly mode: number; readonly gid: number } | undefined> {
  return await stat(path).catch(() => undefined);
}

/** Names by number. */
async function groupsOf(path: string): Promise<ReadonlyMap<number, string>> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return new Map(
    text
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name = '', , gid]) => [Number(gid), name]),
  );
}
