// The files Xen, dom0 and the guests boot from, made once out of a system's packages and kept in node_modules/.cache.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cpio } from './cpio.mjs';

const CACHE = resolve(import.meta.dirname, '../../../node_modules/.cache/xlsnap-lab');

// The guest obeys a shutdown: the kernel's xenbus handler runs these (drivers/xen/manage.c → orderly_poweroff, orderly_reboot).
const OBEY = ['poweroff', 'reboot'].map((name) => ({
  file: `sbin/${name}`,
  body: `#!/bin/busybox sh\nexec /bin/busybox ${name} -f\n`,
}));

// Of modules only what stands between power-on and the root file system, and what libxl and its device model open: dom0 can
// modprobe the rest.
const DOM0 = {
  init: 'dom0-init.sh',
  modules: 'virtio_pci virtio_console 9pnet_virtio 9p overlay xen-privcmd xen-evtchn xenfs xen-gntdev'.split(' '),
  commands: ['sh', 'cat', 'mount', 'insmod', 'mkdir', 'ln', 'ip', 'switch_root', 'poweroff'],
  more: [],
};
const GUEST = {
  init: 'guest-init.sh',
  modules: ['xen-blkfront'],
  commands: ['sh', 'mount', 'insmod', 'mkdir', 'mknod', 'tr', 'dd', 'sleep'],
  more: OBEY,
};

/** The files of the modules and of all they need, in the order in which they can be loaded; none of those in the kernel itself. */
function moduleFiles(folder, names) {
  const moduleOf = (path) => basename(path).replace(/\.ko(\.xz)?$/, '');
  const builtIn = new Set(readFileSync(`${folder}/modules.builtin`, 'utf8').split('\n').map(moduleOf));
  const dependencies = new Map();
  for (const line of readFileSync(`${folder}/modules.dep`, 'utf8').split('\n')) {
    const [path = '', needed = ''] = line.split(':');
    // What a module needs is listed last to be loaded first.
    dependencies.set(moduleOf(path), [
      ...needed
        .split(' ')
        .filter((word) => word !== '')
        .toReversed(),
      path,
    ]);
  }
  const paths = names.flatMap((name) => {
    const found = dependencies.get(name.replaceAll('-', '_')) ?? dependencies.get(name);
    if (found === undefined && (builtIn.has(name) || builtIn.has(name.replaceAll('-', '_')))) return [];
    if (found === undefined) throw new Error(`the lab needs the kernel module ${name}, which is not in ${folder}`);
    return found;
  });
  return [...new Set(paths)].map((path) => `${folder}/${path}`);
}

function initramfs(parts, { init, modules, commands, more }) {
  const files = moduleFiles(`${parts.root}/usr/lib/modules/${parts.kernelVersion}`, modules);
  return cpio([
    ...['bin', 'sbin', 'dev', 'proc', 'sys', 'modules', 'lower', 'ram', 'newroot'].map((directory) => ({ directory })),
    { file: 'init', body: readFileSync(resolve(import.meta.dirname, init)) },
    { file: 'bin/busybox', body: readFileSync(parts.busybox) },
    ...commands.map((name) => ({ link: `bin/${name}`, target: 'busybox' })),
    { file: 'modules/order', body: files.map((path) => `${basename(path, '.xz')}\n`).join('') },
    ...files.map((path) => ({ file: `modules/${basename(path, '.xz')}`, body: unpack(readFileSync(path)) })),
    ...more,
  ]);
}

const PACKINGS = [
  { magic: 'fd377a58', program: 'xz' },
  { magic: '28b52ffd', program: 'zstd' },
];

/** Unpacks what xz or zstd has packed; returns anything else as it is. */
function unpack(bytes) {
  const packing = PACKINGS.find(({ magic }) => bytes.toString('hex', 0, 4) === magic);
  if (!packing) return bytes;
  return execFileSync(packing.program, ['--decompress', '--stdout'], { input: bytes, maxBuffer: 2 ** 28 });
}

/**
 * The plain ELF inside a bzImage (Documentation/arch/x86/boot.rst: payload_offset, payload_length). Debian packs it, and
 * unpacking it under emulation costs seconds in each boot of dom0 and of each guest. Any other packing is left to Xen.
 */
function unpackKernel(bzImage) {
  const protectedMode = (bzImage[0x1f1] + 1) * 512;
  const start = protectedMode + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c) - 4); // the last four bytes are its unpacked size
  const kernel = unpack(payload);
  return kernel === payload ? bzImage : kernel;
}

/** Paths of the boot files for the parts that `findParts` found. */
export function bootFiles(parts) {
  const kernel = readFileSync(parts.kernel);
  const xen = readFileSync(parts.xen);
  const images = { 'dom0.cpio': initramfs(parts, DOM0), 'guest.cpio': initramfs(parts, GUEST) };

  const hash = createHash('sha256');
  for (const bytes of [kernel, xen, ...Object.values(images)]) hash.update(bytes);
  const folder = `${CACHE}/${parts.kernelVersion}-${hash.digest('hex').slice(0, 16)}`;
  if (!existsSync(folder)) {
    mkdirSync(CACHE, { recursive: true });
    const made = mkdtempSync(`${CACHE}/making-`);
    writeFileSync(`${made}/xen`, gunzipSync(xen));
    writeFileSync(`${made}/kernel`, unpackKernel(kernel));
    for (const [name, bytes] of Object.entries(images)) writeFileSync(`${made}/${name}`, bytes);
    try {
      renameSync(made, folder);
    } catch (error) {
      rmSync(made, { recursive: true });
      if (!existsSync(folder)) throw error; // else another run was first, with the same bytes
    }
  }
  const path = (name) => `${folder}/${name}`;
  return {
    xen: path('xen'),
    kernel: path('kernel'),
    bzImage: parts.kernel.slice(parts.root.length),
    dom0Initrd: path('dom0.cpio'),
    guestInitrd: path('guest.cpio'),
  };
}
