/** A guest made from a seed, of the embedded host or of a libvirtd's test driver, with everything of it in a folder of its own. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';
import { numbers } from '../random.ts';
import { nbdUri, writePattern } from './embedded.ts';
import { digests, type GuestParts, startGuest } from './guest.ts';

const run = promisify(execFile);

/** What of it a test can damage. */
export type GuestPart = 'image' | 'backing' | 'snapshot' | 'raw' | 'cdrom' | 'kernel' | 'memory';

export class RandomGuest {
  readonly daemon: Xlsnapd;
  readonly name: string;
  readonly uuid: string;
  readonly parts: GuestParts;
  readonly folder: string;
  readonly #random: (limit: number) => number;

  constructor(daemon: Xlsnapd, seed: number, driver: GuestParts['driver'] = 'xen') {
    this.daemon = daemon;
    this.name = `g${seed}`;
    this.uuid = `0f0f0f0f-1111-2222-3333-${String(seed).padStart(12, '0')}`;
    this.#random = numbers(seed);
    this.parts = { ...anyGuest(this.name, this.#random), name: this.name, uuid: this.uuid, driver };
    this.folder = join(daemon.home, this.name);
  }

  /** Its last qcow2 disk has a backing image. */
  async start(): Promise<void> {
    const { image } = this.last;
    await mkdir(this.folder);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', `${image}.base`, '4M']);
    await writePattern(`${image}.base`, 'qcow2', 1);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', `${image}.base`, '-F', 'qcow2', image]);
    await startGuest(this.daemon, this.parts);
  }

  ok(command: string, ...args: readonly string[]): Promise<string> {
    return this.daemon.ok(command, this.name, ...args);
  }

  /** Something new in each of its images. */
  async write(pattern: number): Promise<void> {
    for (const [, ...disk] of await this.#qcow2Disks()) await writePattern(...disk, pattern);
  }

  /** A path of what is damaged: of the last qcow2 disk, one of its images. */
  async pathOf(part: GuestPart): Promise<string> {
    const { target, image } = this.last;
    switch (part) {
      case 'image': {
        const files = await readdir(this.folder);
        const stem = basename(image, '.qcow2');
        const layers = files.filter((file) => file.startsWith(`${stem}.`) && !file.endsWith('.base')).toSorted();
        const layer = layers[this.#random(layers.length)];
        if (!layer) throw new Error(`no images of ${target}`);
        return join(this.folder, layer);
      }
      case 'snapshot':
        return image;
      case 'backing':
        return `${image}.base`;
      case 'memory':
        return join(this.daemon.home, 'memory', this.uuid, 's1.save');
      default:
        return join(this.folder, { raw: 'left.raw', cdrom: 'cd.iso', kernel: 'vmlinuz' }[part]);
    }
  }

  /** The qcow2 disk that comes last, and its first image. */
  get last(): { readonly target: string; readonly image: string } {
    const [target = '', [file] = ['']] =
      Object.entries(this.parts.disks).findLast(([, [, format]]) => format === 'qcow2') ?? [];
    return { target, image: join(this.daemon.home, file) };
  }

  /** Everything that an operation could change. */
  async everything() {
    const { daemon, name, uuid, folder } = this;
    return {
      domain: await daemon.ok(`domstate ${name} --reason; dumpxml ${name}; dumpxml ${name} --inactive`),
      files: await digests(folder, join(daemon.home, 'memory', uuid), join(daemon.home, 'snapshot', name)),
    };
  }

  /** What the guest finds on its disks, as SHA-256 by target; disks that cannot be read are left out. */
  async contents(): Promise<Readonly<Record<string, string>>> {
    const raw = join(this.folder, 'contents');
    const found: Record<string, string> = {};
    for (const [target, disk, format] of await this.#qcow2Disks()) {
      const read = await run('qemu-img', ['convert', '-f', format, '-O', 'raw', disk, raw]).catch(() => undefined);
      if (read)
        found[target] = createHash('sha256')
          .update(await readFile(raw))
          .digest('hex');
    }
    await rm(raw, { force: true });
    return found;
  }

  /** The qcow2 disks: where QEMU serves them while the guest runs, or else their active images. */
  async #qcow2Disks(): Promise<readonly (readonly [target: string, disk: string, format: 'qcow2' | 'raw'])[]> {
    const id = (await this.ok('domid')).trim();
    const targets = Object.entries(this.parts.disks).flatMap(([target, [, format]]) =>
      format === 'qcow2' ? [target] : [],
    );
    const socket = join(this.daemon.home, 'state', `${id}.nbd`);
    // The test driver opens no disk.
    if (existsSync(socket)) {
      return targets.map((target) => [target, nbdUri(socket, target), 'raw']);
    }
    const active = new Map((await this.ok('domblklist')).split('\n').map((line) => words(line)));
    return targets.map((target) => [target, active.get(target) ?? '', 'qcow2']);
  }
}

const words = (line: string): readonly [string, string] => {
  const [target = '', path = ''] = line.trim().split(/\s+/);
  return [target, path];
};

/** One to three qcow2 disks, in any order, and one of each other part. */
function anyGuest(folder: string, random: (limit: number) => number): GuestParts {
  const disks: Record<string, readonly [string, 'qcow2' | 'raw']> = {};
  const count = 1 + random(3);
  const place = random(count + 1);
  const targets = ['xvda', 'xvdb', 'xvdc', 'xvdd'];
  for (let n = 0; n <= count; n += 1) {
    disks[targets[n] ?? ''] = n === place ? [`${folder}/left.raw`, 'raw'] : [`${folder}/d${n}.qcow2`, 'qcow2'];
  }
  return { disks, cdrom: `${folder}/cd.iso`, kernel: `${folder}/vmlinuz`, memory: 4096 * (1 + random(4)) };
}
