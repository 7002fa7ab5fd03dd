/** What the tests of the embedded host, and those of its device model, share: real folders, real images, a written pattern. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';

const run = promisify(execFile);

/** A private folder that goes with the test. Short: socket paths must fit in it. */
export async function scratchFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'xls-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function qemuImg(...args: readonly string[]): Promise<string> {
  return (await run('qemu-img', args)).stdout;
}

/** A new empty qcow2 image of 8 MiB. */
export async function newImage(path: string): Promise<string> {
  await qemuImg('create', '-q', '-f', 'qcow2', path, '8M');
  return path;
}

/** Names of the internal snapshots of an image, in use or not. */
export async function snapshotsOf(path: string): Promise<readonly string[]> {
  const info = JSON.parse(await qemuImg('info', '-U', '--output=json', path)) as { snapshots?: { name: string }[] };
  return (info.snapshots ?? []).map(({ name }) => name);
}

/** qemu-img check of an image that is not in use: throws on any leak or error. */
export async function checkImage(path: string): Promise<void> {
  await qemuImg('check', '-q', path);
}

/** Fills the second MiB of a disk with one byte value: an image file, or `nbdUri` of a live disk. */
export async function writePattern(disk: string, format: 'qcow2' | 'raw', pattern: number): Promise<void> {
  await qemuIo(disk, format, `write -P ${pattern} 1M 1M`);
}

/** True where the second MiB of a disk holds this byte value throughout. */
export async function hasPattern(disk: string, format: 'qcow2' | 'raw', pattern: number): Promise<boolean> {
  return qemuIo(disk, format, `read -P ${pattern} 1M 1M`).then(
    () => true,
    () => false,
  );
}

export function nbdUri(socket: string, disk: string): string {
  return `nbd+unix:///${disk}?socket=${socket}`;
}

/** A disk as the policy hands it to the mechanism. */
export function disk(vdev: string, path: string, format: 'qcow2' | 'raw' = 'qcow2', name = 's1'): LibxlDiskSnapshot {
  return { name, disk: { vdev, pdev_path: path, format, backend: 'qdisk', removable: 1, readwrite: 1 } };
}

async function qemuIo(disk: string, format: string, command: string): Promise<void> {
  const { stdout } = await run('qemu-io', ['-f', format, '-c', command, disk]);
  if (/failed/i.test(stdout)) throw new Error(stdout);
}
