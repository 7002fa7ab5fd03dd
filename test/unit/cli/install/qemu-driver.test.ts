import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { requireQemuDriverUnused } from '../../../../src/cli/install/qemu-driver.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

/** A host that has these files. */
async function hostWith(...files: readonly string[]) {
  const folder = await scratchFolder();
  for (const file of files) {
    await mkdir(dirname(join(folder.path, file)), { recursive: true });
    await writeFile(join(folder.path, file), '');
  }
  return { on: (path: string) => join(folder.path, path), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const VIRSH = "virsh -c 'qemu+unix:///system?socket=/run/libvirt/libvirt-sock'";
const DISABLE = 'systemctl disable --now virtqemud.socket virtqemud.service';
const SOCKET_LINK = '/etc/systemd/system/sockets.target.wants/virtqemud.socket';
const SERVICE_LINK = '/etc/systemd/system/multi-user.target.wants/virtqemud.service';

test.each([
  [
    'a domain is defined',
    '/etc/libvirt/qemu/my guest.xml',
    "domain 'my guest' of the qemu driver is defined (/etc/libvirt/qemu/my guest.xml)",
    `${VIRSH} undefine --domain 'my guest'`,
  ],
  [
    'a transient domain runs',
    '/run/libvirt/qemu/guest.xml',
    "domain 'guest' of the qemu driver is running (/run/libvirt/qemu/guest.xml)",
    `${VIRSH} shutdown --domain guest`,
  ],
  ['virtqemud’s socket starts with the host', SOCKET_LINK, `virtqemud starts with the host (${SOCKET_LINK})`, DISABLE],
  ['virtqemud itself does', SERVICE_LINK, `virtqemud starts with the host (${SERVICE_LINK})`, DISABLE],
  [
    'somebody has its socket',
    '/run/libvirt/virtqemud-sock',
    "another daemon has '/run/libvirt/virtqemud-sock'",
    'systemctl stop virtqemud.socket virtqemud.service',
  ],
])('--cockpit is refused if %s, with the way out', async (_, file, reason, command) => {
  await using host = await hostWith(file);
  await expect(requireQemuDriverUnused(host.on, false)).rejects.toMatchObject({
    code: 'OPERATION_DENIED',
    detail: `--cockpit is for hosts that do not use the qemu driver: ${reason}. If it is not needed, run: ${command}`,
  });
});

test('networks of the qemu driver are no domains, and a socket of our own is in nobody’s way', async () => {
  await using host = await hostWith('/etc/libvirt/qemu/networks/default.xml', '/run/libvirt/virtqemud-sock');
  await requireQemuDriverUnused(host.on, true);
});
