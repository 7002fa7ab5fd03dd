/** A guest of the embedded host whose files a test can damage, and what is the same after an operation that changed nothing. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';

const run = promisify(execFile);

export const GUEST_UUID = '0f0f0f0f-1111-2222-3333-444444444444';

export interface GuestParts {
  /** By target: file name, and its format. */
  readonly disks: Readonly<Record<string, readonly [file: string, format: 'qcow2' | 'raw']>>;
  /** The medium in `hdc`; null for an empty drive. */
  readonly cdrom?: string | null;
  readonly kernel?: string;
  /** KiB. */
  readonly memory?: number;
  readonly name?: string;
  readonly uuid?: string;
  readonly type?: string;
  /** The driver that is to own it. */
  readonly driver?: 'xen' | 'test';
  /** Further devices, as elements. */
  readonly devices?: string;
}

/** The definition; files are in `folder`. */
export function guestXml(folder: string, parts: GuestParts): string {
  const { disks, cdrom, kernel, memory = 4096, name = 'g', uuid = GUEST_UUID, type = 'hvm' } = parts;
  const { devices = '', driver = 'xen' } = parts;
  const drives = Object.entries(disks).map(
    ([target, [file, format]]) =>
      `<disk type='file' device='disk'${format === 'raw' ? " snapshot='no'" : ''}><driver name='qemu' type='${format}'/>` +
      `<source file='${join(folder, file)}'/><target dev='${target}' bus='xen'/>${format === 'raw' ? '<readonly/>' : ''}</disk>`,
  );
  const medium = cdrom ? `<source file='${join(folder, cdrom)}'/>` : '';
  const drive =
    cdrom === undefined
      ? ''
      : `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>${medium}<target dev='hdc' bus='ide'/><readonly/></disk>`;
  const boot = kernel ? `<kernel>${join(folder, kernel)}</kernel>` : '';
  return (
    `<domain type='${driver}'><name>${name}</name><uuid>${uuid}</uuid><memory unit='KiB'>${memory}</memory><vcpu>1</vcpu>` +
    `<os><type>${type}</type>${boot}</os><devices>${drives.join('')}${drive}${devices}</devices></domain>`
  );
}

/** Makes the files that are not there yet, defines the guest and starts it. */
export async function startGuest(daemon: Xlsnapd, parts: GuestParts): Promise<void> {
  const folder = daemon.home;
  for (const [file, format] of Object.values(parts.disks)) {
    const path = join(folder, file);
    if (!(await isThere(path))) await run('qemu-img', ['create', '-q', '-f', format, path, '4M']);
  }
  for (const file of [parts.cdrom, parts.kernel]) {
    if (file && !(await isThere(join(folder, file)))) await writeFile(join(folder, file), file.repeat(1000));
  }
  await defineGuest(daemon, parts);
  await daemon.ok('start', parts.name ?? 'g');
}

/** The definition of the next start. */
export async function defineGuest(daemon: Xlsnapd, parts: GuestParts): Promise<void> {
  const path = join(daemon.home, `${parts.name ?? 'g'}.xml`);
  await writeFile(path, guestXml(daemon.home, parts));
  await daemon.ok('define', path);
}

/** The definition that the guest has: running, and at its next start. */
export async function definitions(daemon: Xlsnapd, guest = 'g'): Promise<readonly string[]> {
  return [await daemon.ok('dumpxml', guest), await daemon.ok('dumpxml', guest, '--inactive')];
}

/** Each file in these folders and its SHA-256; `missing` for folders that are not there. */
export async function digests(...folders: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const folder of folders) {
    for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
      const path = join(folder, name);
      if (!(await stat(path)).isFile()) continue;
      found[path] = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
    }
  }
  return found;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
