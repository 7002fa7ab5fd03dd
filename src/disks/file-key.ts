/** Whether two paths are one file: links, odd spellings and loop devices do not make two files of one. */

import type { BigIntStats } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../errors.ts';
import { answering } from '../files/answering.ts';

/** What the kernel puts behind the name of a file that has been removed. */
export const REMOVED = ' (deleted)';

/**
 * The same text for all names of one file or device. A file that does not exist is identified by its folder and name. Refuses
 * (OPERATION_FAILED) a file whose storage does not answer.
 */
export async function fileKey(path: string): Promise<string> {
  const found = await statOf(path);
  if (found) return await keyOf(found);
  const folder = dirname(path);
  return join(await answering(folder, () => realpath(folder)).catch(() => folder), basename(path));
}

/** The same for a file that has been looked at. */
export async function keyOf(found: BigIntStats): Promise<string> {
  if (!found.isBlockDevice()) return `${found.dev} ${found.ino}`;
  return (await keyOfLoop(found.rdev)) ?? `device ${found.rdev}`;
}

/** Where the kernel shows what block devices are made of, by `major:minor`. */
const DEVICES = '/sys/dev/block';

/**
 * Returns the keys of all devices and files below a block device. A partition has its disk below it, a volume or an array has its
 * members, and a loop device has its file. A write to one of them changes what the block device shows. `devices`: for tests.
 */
export async function keysBelow(path: string, devices = DEVICES): Promise<ReadonlySet<string>> {
  const found = await statOf(path);
  const keys = new Set<string>();
  if (!found?.isBlockDevice()) return keys;
  await addBelow(`${majorOf(found.rdev)}:${minorOf(found.rdev)}`, keys, devices);
  keys.delete(await keyOf(found));
  return keys;
}

async function addBelow(device: string, keys: Set<string>, devices: string): Promise<void> {
  const folder = join(devices, device);
  const file = await textOf(join(folder, 'loop/backing_file'));
  const backing = file === undefined || file.endsWith(REMOVED) ? undefined : await statOf(file);
  if (backing) keys.add(await keyOf(backing));
  const isPartition = (await textOf(join(folder, 'partition'))) !== undefined;
  const parents = isPartition ? [join(await realpath(folder), '..')] : await membersIn(join(folder, 'slaves'));
  for (const parent of parents) {
    const number = await textOf(join(parent, 'dev'));
    const [major, minor] = number?.split(':').map(BigInt) ?? [];
    if (number === undefined || major === undefined || minor === undefined) continue;
    const key = `device ${deviceOf(major, minor)}`;
    if (keys.has(key)) continue;
    keys.add(key);
    await addBelow(number, keys, devices);
  }
}

async function membersIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.map((name) => join(folder, name));
}

/** A line that the kernel shows; undefined if there is none. */
async function textOf(attribute: string): Promise<string | undefined> {
  return await readFile(attribute, 'utf8').then(
    (text) => text.replace(/\n$/, ''),
    () => undefined,
  );
}

/** Of a loop device that shows a whole file: the file's. Undefined for other devices, and if the file is not there any more. */
async function keyOfLoop(rdev: bigint): Promise<string | undefined> {
  const loop = join(DEVICES, `${majorOf(rdev)}:${minorOf(rdev)}`, 'loop');
  const [file, offset, limit] = [
    await textOf(join(loop, 'backing_file')),
    await textOf(join(loop, 'offset')),
    await textOf(join(loop, 'sizelimit')),
  ];
  if (file === undefined || offset !== '0' || limit !== '0' || file.endsWith(REMOVED)) return undefined;
  const found = await statOf(file);
  return found && (await keyOf(found));
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  return await answering(path, () => stat(path, { bigint: true })).catch((error) => {
    if (error instanceof LibvirtError) throw error;
    return undefined;
  });
}

/** major(3), minor(3): how glibc puts the two numbers into one. */
function majorOf(rdev: bigint): bigint {
  return ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n);
}

function minorOf(rdev: bigint): bigint {
  return (rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n);
}

/** makedev(3). */
function deviceOf(major: bigint, minor: bigint): bigint {
  return ((major & 0xfffn) << 8n) | ((major & 0xffff_f000n) << 32n) | (minor & 0xffn) | ((minor & 0xffff_ff00n) << 12n);
}
