/** Guests made at random, one thing damaged, and an operation: what is refused must have changed nothing, what succeeds must be whole. */

import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';
import type { GuestParts } from './guest.ts';
import { type GuestPart, RandomGuest } from './random-guest.ts';

const run = promisify(execFile);

interface Damage {
  readonly part: GuestPart;
  /** Others cannot be done while QEMU has the image open: the guest is off then, and started again. */
  readonly whileRunning: boolean;
  apply(path: string): Promise<unknown>;
}

const to = (part: GuestPart, apply: Damage['apply']): Damage => ({ part, whileRunning: true, apply });
const off = (part: GuestPart, apply: Damage['apply']): Damage => ({ part, whileRunning: false, apply });

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
  'an image is removed': to('image', (image) => rm(image)),
  'an image is a folder now': to('image', replaceByFolder),
  'an image has another header': to('image', (image) => overwrite(image, (bytes) => bytes.write('XXXX'))),
  'an image is marked as corrupt': to('image', (image) => overwrite(image, (bytes) => bytes.writeUInt8(2, 79))),
  'an image has a feature of the future': to('image', (image) => overwrite(image, (bytes) => bytes.writeUInt8(1, 72))),
  'an image is cut short': to('image', (image) => truncate(image, 100_000)),
  'an image has a dirty bitmap': off('image', (image) => run('qemu-img', ['bitmap', '--add', image, 'b0'])),
  'an image lacks the snapshot': off('snapshot', (image) => run('qemu-img', ['snapshot', '-d', 's1', image])),
  'an image has another snapshot of the name': off('snapshot', async (image) => {
    await run('qemu-img', ['snapshot', '-d', 's1', image]);
    await run('qemu-img', ['snapshot', '-c', 's1', image]);
  }),
  'a backing image is removed': to('backing', (backing) => rm(backing)),
  'a disk that was left out is removed': to('raw', (raw) => rm(raw)),
  'a medium is removed': to('cdrom', (cdrom) => rm(cdrom)),
  'a medium is a folder now': to('cdrom', replaceByFolder),
  'the kernel is removed': to('kernel', (kernel) => rm(kernel)),
  'the memory image is removed': to('memory', (memory) => rm(memory)),
  'the memory image is cut short': to('memory', (memory) => truncate(memory, 200_000)),
  'the memory image has another header': to('memory', (memory) => overwrite(memory, (bytes) => bytes.write('XXXX'))),
  'a byte of the memory image is another': to('memory', (memory) =>
    overwrite(memory, (bytes) => bytes.writeUInt8(bytes.readUInt8(bytes.length - 9) ^ 1, bytes.length - 9)),
  ),
};

interface Operation {
  /** What there is to be damaged, besides the guest's disks, medium and kernel. */
  readonly parts: readonly GuestPart[];
  prepare?(guest: RandomGuest): Promise<unknown>;
  command(guest: RandomGuest): readonly [command: string, ...args: string[]];
  /** The guest's disks hold the same afterwards, and it runs or is off as before. */
  readonly keepsGuest: boolean;
  /** Whatever is damaged, it cannot succeed. */
  readonly cannotSucceed?: true;
  /** What must succeed after it: a snapshot that was taken can be reverted to. */
  readonly proof?: readonly [command: string, ...args: string[]];
}

const onImages = ['image', 'backing'] as const;
const onMemory = [...onImages, 'snapshot', 'memory'] as const;

const withMemory = (guest: RandomGuest) => guest.ok('snapshot-create-as', 's1');
const withOverlays = async (guest: RandomGuest, ...names: readonly string[]) => {
  for (const [n, name] of names.entries()) {
    await guest.ok('snapshot-create-as', name, '--disk-only');
    await guest.write(n + 2);
  }
};
const afterBackup = async (guest: RandomGuest) => {
  await guest.ok('snapshot-create-as', 'b1', '--disk-only', '--no-metadata');
  await guest.write(2);
};

const reverting: Operation = {
  parts: onMemory,
  prepare: withMemory,
  command: () => ['snapshot-revert', 's1'],
  keepsGuest: false,
  cannotSucceed: true,
};
const creating = (...args: readonly string[]): Operation => ({
  parts: onImages,
  command: () => ['snapshot-create-as', 's1', ...args],
  keepsGuest: true,
  proof: ['snapshot-revert', 's1', '--running'],
});
const deleting = (parts: readonly GuestPart[], prepare: NonNullable<Operation['prepare']>): Operation => ({
  parts,
  prepare,
  command: () => ['snapshot-delete', 's1'],
  keepsGuest: true,
});
const endingBackup = (command: (target: string) => ReturnType<Operation['command']>): Operation => ({
  parts: onImages,
  prepare: afterBackup,
  command: ({ last }) => command(last.target),
  keepsGuest: true,
});

/** The guest runs in all of them but those that say otherwise. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  revert: reverting,
  'revert while off': thenOff(reverting),
  'revert to overlays': {
    parts: onImages,
    prepare: (guest) => withOverlays(guest, 's1'),
    command: () => ['snapshot-revert', 's1', '--running'],
    keepsGuest: false,
  },
  create: creating(),
  'create while off': thenOff(creating()),
  'create overlays': creating('--disk-only'),
  'create overlays while off': thenOff(creating('--disk-only')),
  delete: deleting(onMemory, withMemory),
  'delete while off': thenOff(deleting(onMemory, withMemory)),
  merge: deleting(onImages, (guest) => withOverlays(guest, 's1')),
  'merge while off': thenOff(deleting(onImages, (guest) => withOverlays(guest, 's1'))),
  'merge below an overlay': deleting(onImages, (guest) => withOverlays(guest, 's1', 's2')),
  'commit at the end of a backup': endingBackup((target) => ['blockcommit', target, '--active', '--pivot', '--wait']),
  'pull at the end of a backup': endingBackup((target) => ['blockpull', target, '--wait']),
};

function thenOff({ prepare, ...operation }: Operation): Operation {
  return {
    ...operation,
    prepare: async (guest) => {
      await prepare?.(guest);
      await guest.ok('destroy');
    },
  };
}

/** Every operation with every damage that it can meet. */
export const PAIRS: readonly (readonly [operation: string, damage: string])[] = Object.entries(OPERATIONS).flatMap(
  ([operation, { parts }]) =>
    Object.entries(DAMAGES)
      .filter(([, { part }]) => parts.includes(part) || ['raw', 'cdrom', 'kernel'].includes(part))
      .map(([damage]) => [operation, damage] as const),
);

/** What came of an operation, and what is wrong with that: nothing, if a refusal has changed nothing and a success is one. */
export async function operateAfter(
  daemon: Xlsnapd,
  [operation, damage]: (typeof PAIRS)[number],
  seed: number,
  driver: GuestParts['driver'] = 'xen',
) {
  const { parts, prepare, command, keepsGuest, cannotSucceed, proof } = OPERATIONS[operation] as Operation;
  const { part, whileRunning, apply } = DAMAGES[damage] as Damage;
  const guest = new RandomGuest(daemon, seed, driver);
  await guest.start();
  await prepare?.(guest);
  const restarts = !whileRunning && (await guest.ok('domstate')) === 'running';
  if (restarts) await guest.ok('destroy');
  await apply(await guest.pathOf(part));
  if (restarts) await guest.ok('start');
  const contents = keepsGuest ? await guest.contents() : {};
  const before = await guest.everything();
  const [name, ...args] = command(guest);
  const { status, stderr } = await daemon.virsh(name, guest.name, ...args);
  const refused = status !== 0;
  const wrong: unknown[] = [];
  const compare = (was: unknown, is: unknown) => void (isDeepStrictEqual(was, is) || wrong.push({ was, is }));
  const after = await guest.everything();
  if (refused) compare(before, after);
  else if (keepsGuest) {
    const now = await guest.contents();
    for (const [target, was] of Object.entries(contents)) compare(was, now[target]);
  }
  if (refused && !/\S/.test(stderr)) wrong.push('refused without a reason');
  if (!refused && cannotSucceed) wrong.push('has succeeded');
  compare(refused || keepsGuest ? stateOf(before) : 'running', stateOf(after));
  // What a snapshot leaves out may go: its disks are still what they were.
  if (!refused && proof && parts.includes(part)) {
    const [next, ...more] = proof;
    const { stderr: complaint } = await daemon.virsh(next, guest.name, ...more);
    if (complaint.trim() !== '') wrong.push(complaint);
  }
  // A domain whose chains cannot be followed is in the way of others.
  await daemon.virsh('destroy', guest.name);
  await guest.ok('undefine', '--snapshots-metadata');
  return { refused, error: stderr, wrong };
}

/** Its first line without the reason, which may be another one. */
const stateOf = ({ domain }: { readonly domain: string }) => domain.split(/ \(|\n/, 1)[0];
