/** Guests made at random, a snapshot of each, one thing damaged, and a revert: what fails must have changed nothing. */

import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';
import { numbers } from '../random.ts';
import { definitions, digests, type GuestParts, startGuest } from './guest.ts';

const run = promisify(execFile);

/** What a damage is done to. */
interface Damaged {
  /** Paths by what they are; one qcow2 image, the last one. */
  readonly image: string;
  readonly raw: string;
  readonly cdrom: string;
  readonly kernel: string;
  readonly memory: string;
}

interface Damage {
  /** Others cannot be done while QEMU has the image open: the guest is off then, and started again. */
  readonly whileRunning: boolean;
  apply(files: Damaged): Promise<unknown>;
}

const running = (apply: Damage['apply']): Damage => ({ whileRunning: true, apply });
const off = (apply: Damage['apply']): Damage => ({ whileRunning: false, apply });

async function overwrite(path: string, change: (bytes: Buffer) => void): Promise<void> {
  const bytes = await readFile(path);
  change(bytes);
  await writeFile(path, bytes);
}

async function replaceByFolder(path: string): Promise<void> {
  await rm(path);
  await mkdir(path);
}

/** Each makes it impossible to revert to a snapshot with memory. */
export const DAMAGES: Readonly<Record<string, Damage>> = {
  'an image is removed': running(({ image }) => rm(image)),
  'an image is a folder now': running(({ image }) => replaceByFolder(image)),
  'an image has another header': running(({ image }) => overwrite(image, (bytes) => bytes.write('XXXX'))),
  'an image is marked as corrupt': running(({ image }) => overwrite(image, (bytes) => bytes.writeUInt8(2, 79))),
  'an image has a feature of the future': running(({ image }) => overwrite(image, (bytes) => bytes.writeUInt8(1, 72))),
  'an image is cut short': running(({ image }) => truncate(image, 100_000)),
  'an image has a dirty bitmap': off(({ image }) => run('qemu-img', ['bitmap', '--add', image, 'b0'])),
  'an image lacks the snapshot': off(({ image }) => run('qemu-img', ['snapshot', '-d', 's1', image])),
  'an image has another snapshot of the name': off(async ({ image }) => {
    await run('qemu-img', ['snapshot', '-d', 's1', image]);
    await run('qemu-img', ['snapshot', '-c', 's1', image]);
  }),
  'a backing image is removed': running(({ image }) => rm(`${image}.base`)),
  'a disk that was left out is removed': running(({ raw }) => rm(raw)),
  'a medium is removed': running(({ cdrom }) => rm(cdrom)),
  'a medium is a folder now': running(({ cdrom }) => replaceByFolder(cdrom)),
  'the kernel is removed': running(({ kernel }) => rm(kernel)),
  'the memory image is removed': running(({ memory }) => rm(memory)),
  'the memory image is cut short': running(({ memory }) => truncate(memory, 200_000)),
  'the memory image has another header': running(({ memory }) => overwrite(memory, (bytes) => bytes.write('XXXX'))),
  'a byte of the memory image is another': running(({ memory }) =>
    overwrite(memory, (bytes) => bytes.writeUInt8(bytes.readUInt8(bytes.length - 9) ^ 1, bytes.length - 9)),
  ),
};

/** Returns the error of the revert, and everything it could have changed, before and after it. */
export async function revertAfter(daemon: Xlsnapd, damage: Damage, seed: number) {
  const random = numbers(seed);
  const name = `g${seed}`;
  const uuid = `0f0f0f0f-1111-2222-3333-${String(seed).padStart(12, '0')}`;
  const parts: GuestParts = { ...anyGuest(name, random), name, uuid };
  const images = Object.values(parts.disks).flatMap(([file, format]) => (format === 'qcow2' ? [file] : []));
  const folder = join(daemon.home, name);
  const last = join(daemon.home, images.at(-1) ?? '');
  await mkdir(folder);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', `${last}.base`, '4M']);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', `${last}.base`, '-F', 'qcow2', last]);
  await startGuest(daemon, parts);
  await daemon.ok('snapshot-create-as', name, 's1');
  const memory = join(daemon.home, 'memory', uuid, 's1.save');
  const path = (file: string) => join(folder, file);
  const files = { image: last, raw: path('left.raw'), cdrom: path('cd.iso'), kernel: path('vmlinuz'), memory };
  if (!damage.whileRunning) await daemon.ok('destroy', name);
  await damage.apply(files);
  if (!damage.whileRunning) await daemon.ok('start', name);
  const everything = async () => ({
    state: await daemon.ok('domstate', name, '--reason'),
    definitions: await definitions(daemon, name),
    files: await digests(folder, join(daemon.home, 'memory'), join(daemon.home, 'snapshot')),
  });
  const before = await everything();
  const { status, stderr } = await daemon.virsh('snapshot-revert', name, 's1');
  const after = await everything();
  await daemon.ok('destroy', name);
  return { refused: status !== 0, error: stderr, before, after };
}

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
