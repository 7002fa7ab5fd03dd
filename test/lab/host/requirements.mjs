// What this machine must have before a Xen host can be booted on it, and which Debian package brings each part.
import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';

/** The file of `folder` that matches, the newest version of several. */
function newest(folder, pattern) {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => pattern.test(name)) : [];
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return names.length > 0 ? `${folder}/${names.at(-1)}` : undefined;
}

const present = (path) => (existsSync(path) ? path : undefined);

const PARTS = {
  qemu: ['/usr/bin/qemu-system-x86_64', 'qemu-system-x86', present],
  xen: ['/boot/xen-4.17-amd64.gz', 'xen-hypervisor-4.17-amd64', present],
  xl: ['/usr/lib/xen-4.17/bin/xl', 'xen-utils-4.17', present],
  deviceModel: ['/usr/libexec/xen-qemu-system-i386', 'qemu-system-xen', present],
  kernel: ['/boot/vmlinuz-*-amd64', 'linux-image-amd64', () => newest('/boot', /^vmlinuz-.*-amd64$/)],
  busybox: ['/bin/busybox', 'busybox-static', present],
  xz: ['/usr/bin/xz', 'xz-utils', present],
  qemuImg: ['/usr/bin/qemu-img', 'qemu-utils', present],
  libvirtd: ['/usr/sbin/libvirtd', 'libvirt-daemon', present],
  xenDriver: [
    '/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_libxl.so',
    'libvirt-daemon-driver-xen',
    present,
  ],
  virsh: ['/usr/bin/virsh', 'libvirt-clients', present],
  lvm: ['/usr/sbin/lvm', 'lvm2', present],
  thinCheck: ['/usr/sbin/thin_check', 'thin-provisioning-tools', present],
};

/** The Debian packages that the lab needs. */
export const LAB_PACKAGES = Object.values(PARTS).map(([, name]) => name);

/** The paths of the parts by name, with `kernelVersion`; an error that says what to do when one is missing. */
export function findParts() {
  if (process.getuid?.() !== 0)
    throw new Error('the lab needs root: dom0 sees the whole of this root file system as its own, root-only files too');
  const parts = {};
  const missing = [];
  for (const [part, [path, packageName, find]] of Object.entries(PARTS)) {
    parts[part] = find(path);
    if (parts[part] === undefined) missing.push({ path, packageName });
  }
  if (missing.length > 0)
    throw new Error(
      `the lab needs ${missing.map(({ path, packageName }) => `${path} (package ${packageName})`).join(', ')}: ` +
        `apt-get install -y --no-install-recommends ${missing.map(({ packageName }) => packageName).join(' ')}`,
    );
  return { ...parts, kernelVersion: basename(parts.kernel).replace('vmlinuz-', '') };
}
