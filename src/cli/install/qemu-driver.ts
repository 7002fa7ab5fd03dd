/** Refuses to have qemu:///system mean the Xen host if libvirt's own qemu driver is in use: its guests would be out of sight. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { QEMU_SOCKET } from '../../rpc/sockets.ts';
import { exists } from './files.ts';

/** Definitions of the driver's persistent domains, and the status of those that run: a file NAME.xml each. */
const DOMAINS = [
  { folder: '/etc/libvirt/qemu', state: 'defined' },
  { folder: '/run/libvirt/qemu', state: 'running' },
] as const;

/** The modular daemon of the qemu driver, if it starts with the host. */
const ENABLED = [
  '/etc/systemd/system/sockets.target.wants/virtqemud.socket',
  '/etc/systemd/system/multi-user.target.wants/virtqemud.service',
] as const;

const LIBVIRTD = 'qemu+unix:///system?socket=/run/libvirt/libvirt-sock';

/** OPERATION_DENIED, naming the domain or the daemon, and the way out. `isOurs`: we listen at QEMU_SOCKET already. */
export async function requireQemuDriverUnused(onHost: (path: string) => string, isOurs: boolean): Promise<void> {
  for (const { folder, state } of DOMAINS) {
    const file = (await readdir(onHost(folder)).catch(() => [])).toSorted().find((name) => name.endsWith('.xml'));
    if (file === undefined) continue;
    const domain = file.slice(0, -'.xml'.length);
    const command = shellCommand(
      'virsh',
      '-c',
      LIBVIRTD,
      state === 'defined' ? 'undefine' : 'shutdown',
      '--domain',
      domain,
    );
    throw denied(`domain '${domain}' of the qemu driver is ${state} (${join(folder, file)})`, command);
  }
  for (const link of ENABLED) {
    if (await exists(onHost(link))) {
      throw denied(
        `virtqemud starts with the host (${link})`,
        'systemctl disable --now virtqemud.socket virtqemud.service',
      );
    }
  }
  if (!isOurs && (await exists(onHost(QEMU_SOCKET)))) {
    throw denied(`another daemon has '${QEMU_SOCKET}'`, 'systemctl stop virtqemud.socket virtqemud.service');
  }
}

function denied(reason: string, command: string): LibvirtError {
  const text = `--cockpit is for hosts that do not use the qemu driver: ${reason}. If it is not needed, run: ${command}`;
  return new LibvirtError('OPERATION_DENIED', text);
}
