// What a Xen host is booted from, and which Debian package brings each part: of this machine, or of another system's root folder.
import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';

/** The file of `folder` that matches, the newest version of several. */
function newest(folder, pattern) {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => pattern.test(name)) : [];
  names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return names.length > 0 ? `${folder}/${names.at(-1)}` : undefined;
}

const present = (path) => (existsSync(path) ? path : undefined);
/** In the folder of the newest Xen. */
const ofXen = (path) => (_, root) => {
  const folder = newest(`${root}/usr/lib`, /^xen-\d/);
  return folder && present(`${folder}/${path}`);
};

/** Programs that are run on this machine, to boot the host and to unpack what it boots from. */
const HERE = {
  qemu: ['/usr/bin/qemu-system-x86_64', 'qemu-system-x86', present],
  xz: ['/usr/bin/xz', 'xz-utils', present],
  zstd: ['/usr/bin/zstd', 'zstd', present],
};

/** What dom0 is made of. */
const THERE = {
  xen: ['/boot/xen-*-amd64.gz', 'xen-system-amd64', (_, root) => newest(`${root}/boot`, /^xen-\d.*-amd64\.gz$/)],
  xl: ['/usr/lib/xen-*/bin/xl', 'xen-system-amd64', ofXen('bin/xl')],
  deviceModel: ['/usr/libexec/xen-qemu-system-i386', 'qemu-system-xen', present],
  kernel: ['/boot/vmlinuz-*-amd64', 'linux-image-amd64', (_, root) => newest(`${root}/boot`, /^vmlinuz-.*-amd64$/)],
  busybox: ['/bin/busybox', 'busybox-static', present],
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

const packagesOf = (parts) => [...new Set(Object.values(parts).map(([, name]) => name))];

/** The Debian packages that dom0 needs, and those that this machine needs besides. */
export const DOM0_PACKAGES = packagesOf(THERE);
export const LAB_PACKAGES = packagesOf({ ...HERE, ...THERE });

/**
 * The paths of the parts by name, with `kernelVersion`; an error that says what to do when one is missing.
 * @param {string} root of the system that dom0 is made of; '' for this machine's
 */
export function findParts(root) {
  if (process.getuid?.() !== 0)
    throw new Error('the lab needs root: dom0 sees the whole of this root file system as its own, root-only files too');
  const parts = {};
  const missing = [];
  for (const [table, from] of [
    [HERE, ''],
    [THERE, root],
  ]) {
    for (const [part, [path, packageName, find]] of Object.entries(table)) {
      parts[part] = find(`${from}${path}`, from);
      if (parts[part] === undefined) missing.push({ path: `${from}${path}`, packageName });
    }
  }
  if (missing.length > 0)
    throw new Error(
      `the lab needs ${missing.map(({ path, packageName }) => `${path} (package ${packageName})`).join(', ')}: ` +
        `apt-get install -y --no-install-recommends ${missing.map(({ packageName }) => packageName).join(' ')}`,
    );
  return { ...parts, root, kernelVersion: basename(parts.kernel).replace('vmlinuz-', '') };
}
