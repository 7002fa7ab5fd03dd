/** An embedded guest's disk as the guest sees it, by the NBD socket of its device model, or its image while it is off. */

import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';

const run = promisify(execFile);

/** Bytes of one pattern. */
const BLOCK = '64k';

/** Writes a pattern (a byte) where the guest would, `at` blocks from the start, and flushes it. */
export async function guestWrites(host: Xlsnapd, pattern: number, { disk = 'xvda', at = 0 } = {}): Promise<void> {
  await qemuIo(await exported(host, disk), `write -P ${pattern} ${at * 64}k ${BLOCK}`, 'flush');
}

/** Whether the guest would read that pattern there. */
export async function guestReads(host: Xlsnapd, pattern: number, { disk = 'xvda', at = 0 } = {}): Promise<boolean> {
  return await readsAs(await exported(host, disk), 'raw', pattern, at);
}

/** The same of an image that nobody has open. */
export async function imageReads(path: string, pattern: number, { at = 0, format = 'qcow2' } = {}): Promise<boolean> {
  return await readsAs(path, format, pattern, at);
}

/** File names of the chain, from the top. */
export async function backingChain(path: string): Promise<readonly string[]> {
  const { stdout } = await run('qemu-img', ['info', '-U', '--backing-chain', '--output=json', path]);
  return (JSON.parse(stdout) as { filename: string }[]).map(({ filename }) => filename);
}

async function exported(host: Xlsnapd, disk: string): Promise<string> {
  const state = join(host.home, 'state');
  const sockets = (await readdir(state)).filter((name) => name.endsWith('.nbd'));
  const id = (await host.ok('domid', 'test')).trim();
  const socket = sockets.find((name) => name === `${id}.nbd`);
  if (!socket) throw new Error(`domain 'test' (${id}) has no device model: ${sockets.join(', ')}`);
  return `nbd+unix:///${disk}?socket=${join(state, socket)}`;
}

async function readsAs(target: string, format: string, pattern: number, at: number): Promise<boolean> {
  const { stdout } = await run('qemu-io', [
    '-f',
    format,
    '-c',
    `read -P ${pattern} ${at * 64}k ${BLOCK}`,
    target,
  ]).catch((error) => error as { stdout: string });
  if (!/^read \d+\/\d+ bytes/m.test(stdout)) throw new Error(`cannot read ${target}: ${stdout}`);
  return !stdout.includes('Pattern verification failed');
}

async function qemuIo(target: string, ...commands: readonly string[]): Promise<void> {
  await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), target]);
}
