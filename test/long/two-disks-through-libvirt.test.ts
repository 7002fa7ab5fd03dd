/** A merge of two disks of a domain of a real libvirtd (its test driver), where the second one fails. */

import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { imageReads } from '../support/disks/embedded-disk.ts';

const run = promisify(execFile);
const DISKS = ['a', 'b'] as const;

let libvirtd: Libvirtd;
let daemon: Xlsnapd;
let home: string;

const file = (name: string) => join(home, 'images', name);
const sources = async (...flags: readonly string[]) =>
  (await daemon.ok('domblklist', 'two', ...flags))
    .split('\n')
    .slice(2)
    .flatMap((line) => line.trim().split(/\s+/)[1]?.replace(`${home}/images/`, '') ?? []);
const write = (name: string, pattern: number) =>
  run('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} 0 64k`, file(name)]);

beforeEach(async () => {
  libvirtd = await startLibvirtd();
  home = await folderForLibvirtd();
  for (const folder of ['images', 'bin']) await mkdir(join(home, folder));
  await chmod(join(home, 'images'), 0o777);
  for (const name of DISKS) await run('qemu-img', ['create', '-q', '-f', 'qcow2', file(`${name}.qcow2`), '8M']);
  // While the file `broken` is there, no image named `b.e1` can be merged.
  await writeFile(
    join(home, 'bin/qemu-img'),
    `#!/bin/sh
case "$*" in commit*b.e1*) [ -e '${home}/broken' ] && { echo 'qemu-img: Input/output error' >&2; exit 1; };; esac
exec /usr/bin/qemu-img "$@"
`,
    { mode: 0o755 },
  );
  const env = { PATH: `${join(home, 'bin')}:${process.env.PATH}` };
  daemon = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket], env });
  const disk = (name: string) =>
    `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${file(`${name}.qcow2`)}'/><target dev='vd${name}' bus='virtio'/></disk>`;
  const path = join(home, 'two.xml');
  await writeFile(
    path,
    `<domain type='test'><name>two</name><memory>4096</memory><os><type>hvm</type></os><devices>${DISKS.map(disk).join('')}</devices></domain>`,
  );
  await daemon.ok('define', path);
  await daemon.ok('start', 'two');
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

test.each(['running', 'off'])('a domain that is %s: the first disk is done, the second as it was', async (state) => {
  await daemon.ok('snapshot-create-as', 'two', 'e1', '--disk-only');
  for (const name of DISKS) await write(`${name}.e1`, 5);
  if (state === 'off') await daemon.ok('destroy', 'two');
  await writeFile(join(home, 'broken'), '');
  expect(await daemon.refused('snapshot-delete', 'two', 'e1')).toContain('Input/output error');
  expect([await sources(), await sources('--inactive')]).toEqual([
    ['a.qcow2', 'b.e1'],
    ['a.qcow2', 'b.e1'],
  ]);
  expect(await daemon.ok('domstate', 'two')).toBe(state === 'off' ? 'shut off' : 'running');
  if (state === 'running') await daemon.ok('destroy', 'two');
  await daemon.ok('start', 'two');
  await rm(join(home, 'broken'));
  await daemon.ok('snapshot-delete', 'two', 'e1');
  expect(await sources('--inactive')).toEqual(['a.qcow2', 'b.qcow2']);
  expect((await readdir(join(home, 'images'))).sort()).toEqual(['a.qcow2', 'b.qcow2']);
  for (const name of DISKS) expect(await imageReads(file(`${name}.qcow2`), 5)).toBe(true);
});
