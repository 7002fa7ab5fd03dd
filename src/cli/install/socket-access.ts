/** Who may connect to xlsnapd's sockets: those who may connect to the upstream's. */

import { stat } from 'node:fs/promises';
import { confOf, readAccessSettings } from '../../access/libvirtd-conf.ts';

/** Configuration files and sockets of libvirt's daemons, the modular one first: if it is there, it is the upstream. */
const VIRTXEND = '/run/libvirt/virtxend-upstream-sock';
const LIBVIRTD = '/run/libvirt/libvirt-sock';

/** SocketMode= of xlsnapd's units, in octal, and how the upstream lets its clients in. */
export interface SocketAccess {
  readonly mode: string;
  readonly readOnlyMode: string;
  /** For whom installs: what is true of xen:///system afterwards. */
  readonly note: string;
}

/** `onHost` is the place of a path on the host that is installed to. */
export async function socketAccess(
  upstream: string | undefined,
  group: string,
  onHost: (path: string) => string,
): Promise<SocketAccess> {
  const daemon = upstream ?? ((await modeOf(onHost(confOf(VIRTXEND)))) === undefined ? LIBVIRTD : VIRTXEND);
  const { write, readOnly } = await readAccessSettings(onHost(confOf(daemon)));
  const mode = write === 'polkit' ? 0o666 : ((await modeOf(onHost(daemon))) ?? 0o660);
  const readOnlyMode = readOnly === 'polkit' ? 0o666 : ((await modeOf(onHost(`${daemon}-ro`))) ?? 0o660);
  const who = (scheme: string, bits: number, action: string): string =>
    scheme === 'polkit' ? `users whom polkit grants ${action}` : (bits & 0o002) !== 0 ? 'all users' : `group ${group}`;
  return {
    mode: octal(mode),
    readOnlyMode: octal(readOnlyMode),
    note:
      `xen:///system is open to those who may use libvirt now (${confOf(daemon)}): root and ` +
      `${who(write, mode, 'org.libvirt.unix.manage')}; read-only to ${who(readOnly, readOnlyMode, 'org.libvirt.unix.monitor')}`,
  };
}

const octal = (mode: number): string => `0${mode.toString(8).padStart(3, '0')}`;

async function modeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ mode }) => mode & 0o777,
    () => undefined,
  );
}
