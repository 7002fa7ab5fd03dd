// The files Xen, dom0 and the guests boot from, made once out of this machine's packages and kept in node_modules/.cache.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cpio } from './cpio.mjs';

const CACHE = resolve(import.meta.dirname, '../../../node_modules/.cache/xlsnap-lab');

// Only what stands between power-on and the root file system, and what libxl and its device model open; dom0 can modprobe the rest.
const DOM0_MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'].concat([
  'xen-privcmd',
  'xen-evtchn',
  'xenfs',
  'xen-gntdev',
]);
const GUEST_MODULES = ['xen-blkfront'];

const DOM0_COMMANDS = ['sh', 'mount', 'insmod', 'mkdir', 'ln', 'ip', 'switch_root', 'poweroff'];
const GUEST_COMMANDS = ['sh', 'mount', 'insmod', 'dd', 'sleep'];

/** What an init program is made of: read first, so that the cache can be keyed by the very bytes. */
function readImage(parts, init, modules, commands, more = []) {
  const folder = `/lib/modules/${parts.kernelVersion}`;
  const lines = readFileSync(`${folder}/modules.dep`, 'utf8').split('\n');
  const dependencies = new Map(
    lines
      .map((line) => line.split(/:\s*|\s+/).filter((path) => path !== ''))
      .map((paths) => [basename(paths[0] ?? '', '.ko'), paths]),
  );
  // A line of modules.dep names the module and then, last to be loaded first, all it stands on.
  const order = new Set(modules.flatMap((name) => (dependencies.get(name) ?? []).toReversed()));
  return {
    init: readFileSync(resolve(import.meta.dirname, init)),
    busybox: readFileSync(parts.busybox),
    modules: [...order].map((path) => ({ name: basename(path), body: readFileSync(`${folder}/${path}`) })),
    commands,
    more,
  };
}

function initramfs({ init, busybox, modules, commands, more }) {
  return cpio([
    ...['bin', 'sbin', 'dev', 'proc', 'sys', 'modules', 'lower', 'ram', 'newroot'].map((directory) => ({ directory })),
    { file: 'init', body: init },
    { file: 'bin/busybox', body: busybox },
    ...commands.map((name) => ({ link: `bin/${name}`, target: 'busybox' })),
    { file: 'modules/order', body: modules.map(({ name }) => `${name}\n`).join('') },
    ...modules.map(({ name, body }) => ({ file: `modules/${name}`, body })),
    ...more,
  ]);
}

/**
 * The plain ELF inside a bzImage (Documentation/arch/x86/boot.rst: payload_offset, payload_length). Debian packs it with xz, and
 * unpacking that under emulation costs seconds in each boot of dom0 and of each guest. Any other packing is left to Xen.
 */
function unpackKernel(bzImage) {
  const protectedMode = (bzImage[0x1f1] + 1) * 512;
  const start = protectedMode + bzImage.readUInt32LE(0x248);
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c) - 4); // the last four bytes are its unpacked size
  if (payload.toString('latin1', 1, 5) !== '7zXZ') return bzImage;
  return execFileSync('xz', ['--decompress', '--stdout'], { input: payload, maxBuffer: 2 ** 28 });
}

// The guest obeys a shutdown: the kernel's xenbus handler runs these (drivers/xen/manage.c → orderly_poweroff, orderly_reboot).
const OBEY = ['poweroff', 'reboot'].map((name) => ({
  file: `sbin/${name}`,
  body: `#!/bin/busybox sh\nexec /bin/busybox ${name} -f\n`,
}));

/** Paths of the boot files for the parts that `findParts` found. */
export function bootFiles(parts) {
  const dom0 = readImage(parts, 'dom0-init.sh', DOM0_MODULES, DOM0_COMMANDS);
  const guest = readImage(parts, 'guest-init.sh', GUEST_MODULES, GUEST_COMMANDS, OBEY);
  const kernel = readFileSync(parts.kernel);
  const xen = readFileSync(parts.xen);
  const images = { 'dom0.cpio': initramfs(dom0), 'guest.cpio': initramfs(guest) };

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
  return { xen: path('xen'), kernel: path('kernel'), dom0Initrd: path('dom0.cpio'), guestInitrd: path('guest.cpio') };
}
