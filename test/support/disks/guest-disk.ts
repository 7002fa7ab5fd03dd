/** The disk of the embedded host's domain `test` as its guest uses it, and as clients see it. */

import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Xlsnapd } from '../daemons/xlsnapd.ts';

const run = promisify(execFile);

interface GuestDisk {
  /** The path of a file beside the disk's image. */
  file(name: string): string;
  isThere(path: string): Promise<boolean>;
  /** The active image; `--inactive`: of the persistent definition. */
  disk(...args: readonly string[]): Promise<string>;
  /** Runs a command of qemu-io as the guest would read or write; returns what it prints. */
  guest(command: string): Promise<string>;
  /** Makes an overlay that no snapshot names. */
  overlay(name: string): Promise<string>;
}

/** `host`: the daemon, once it runs. */
export function guestDisk(host: () => Xlsnapd): GuestDisk {
  const file = (name: string): string => join(host().home, 'state', name);
  return {
    file,
    isThere: (path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    disk: async (...args) =>
      (await host().ok('domblklist', 'test', ...args)).split('\n')[2]?.trim().split(/\s+/)[1] ?? '',
    guest: async (command) => {
      const id = await host().ok('domid', 'test');
      const uri = `nbd+unix:///xvda?socket=${file(`${id}.nbd`)}`;
      return (await run('qemu-io', ['-f', 'raw', '-c', command, uri])).stdout;
    },
    overlay: (name) => host().ok('snapshot-create-as', 'test', name, '--disk-only', '--atomic', '--no-metadata'),
  };
}

/** The last line of what a command with a progress display has printed. */
export function lastLine(text: string): string {
  return text.split(/[\r\n]+/).at(-1) ?? '';
}
