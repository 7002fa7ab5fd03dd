/**
 * LVM and ZFS without a kernel that has them: programs of those names on PATH, which answer as the real ones do. The lab
 * shows what the real ones do; here it is which commands are given, in which order, and what comes of an interruption.
 */

import { symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { scratchFolder } from '../hosts/embedded.ts';
import { type FakeVolume, onlyReads, PROGRAMS, type Volumes } from './fake-volume-programs.ts';

/**
 * Passes its name and arguments to the test, and its answer on: exit status, output, words of an error, each ended by a
 * NUL. All that bash does itself, so that one command costs one start of a small program.
 */
const passing = (port: number): string => `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port}
printf '%s\\0' "\${0##*/}" "$@" '' >&3
IFS= read -r -d '' status <&3
IFS= read -r -d '' output <&3
IFS= read -r -d '' words <&3
printf '%s' "$output"
printf '%s' "$words" >&2
exit "$status"
`;

/** The programs are found on PATH until it is disposed of. */
export async function fakeVolumes(initial: Readonly<Record<string, FakeVolume>>) {
  const volumes: Volumes = new Map(Object.entries(initial));
  let failing: readonly string[] = [];
  let dying = false;
  let log: string[] = [];

  const run = (program: string, args: readonly string[]): string => {
    if (onlyReads(program, args)) return PROGRAMS[program]?.(volumes, args) ?? '';
    log.push([program, ...args].join(' '));
    const word = program === 'zfs' ? `zfs ${args[0]}` : program;
    const count = log.filter((line) => `${line} `.startsWith(`${word} `)).length;
    if (failing.includes(`${word} ${count}`)) {
      // Nothing that comes after it does anything, either.
      if (dying) failing = [...failing, 'all'];
      throw new Error(`${word}: made to fail`);
    }
    if (failing.includes('all')) throw new Error('dead');
    return PROGRAMS[program]?.(volumes, args) ?? '';
  };

  const server = createServer((socket) => {
    let request = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      request += text;
      if (!request.endsWith('\0\0')) return;
      const [program = '', ...args] = request.slice(0, -2).split('\0');
      try {
        socket.end(`0\0${run(program, args)}\0\0`);
      } catch (error) {
        socket.end(`5\0\0  ${(error as Error).message}\n\0`);
      }
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const folder = await scratchFolder();
  const program = join(folder.path, 'program');
  await writeFile(program, passing((server.address() as AddressInfo).port), { mode: 0o755 });
  for (const name of Object.keys(PROGRAMS)) await symlink(program, join(folder.path, name));
  const { PATH } = process.env;
  process.env.PATH = `${folder.path}:${PATH}`;
  return {
    volumes: async () => Object.fromEntries(volumes),
    contents: async (name: string) => volumes.get(name)?.contents,
    log: async () => log,
    /** As a guest would. */
    change: async (name: string, change: Partial<FakeVolume>) => {
      volumes.set(name, { contents: '', ...volumes.get(name), ...change });
    },
    /** With the next failure all other commands fail, too, as those of a daemon that is killed. */
    die: () => {
      dying = true;
    },
    /** These commands (`lvrename 2`: the second one from now on) fail before they do anything. */
    fail: async (...commands: readonly string[]) => {
      failing = commands;
      dying = false;
      log = [];
    },
    [Symbol.asyncDispose]: async () => {
      process.env.PATH = PATH;
      await new Promise((closed) => server.close(closed));
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A disk on a volume, as libvirt's `<driver name='phy'/>` makes it. */
export function phy(vdev: string, pdev_path: string) {
  return { name: 's1', disk: { vdev, pdev_path, backend: 'phy' as const, format: 'raw' as const, readwrite: 1 } };
}
