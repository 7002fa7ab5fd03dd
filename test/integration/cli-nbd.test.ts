/** `xlsnap nbd` before a real xlsnapd: a real qemu-nbd, read by real qemu-img while the guest writes. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { runProgram, Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';
import { until } from '../support/until.ts';

jest.setTimeout(60_000);

const run = promisify(execFile);
const CTRL_C = '\x03';
const URI = /nbd\+unix:\/\/\/\?socket=(\S+)/;

let daemon: Xlsnapd;
let files: string;
let image: string;

const write = (pattern: string) => run('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} 0 64k`, image]);

/** A guest that is off, so that its disk can be written to; `before` is inside its image, `layer` below an overlay. */
beforeAll(async () => {
  daemon = await Xlsnapd.start();
  files = await mkdtemp(join(tmpdir(), 'xlsnap-nbd-test-'));
  image = join(files, 'disk');
  await newImage(image);
  await write('0x11');
  await writeFile(join(files, 'g.xml'), definitionOf('g', '11111111-2222-3333-4444-000000000009', { xvda: image }));
  await daemon.ok('define', join(files, 'g.xml'));
  await daemon.ok('snapshot-create-as', 'g', 'before');
  await write('0x22');
  await daemon.ok('snapshot-create-as', 'g', 'layer', '--disk-only');
  await daemon.ok('start', 'g');
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(files, { recursive: true, force: true });
});

const nbd = (...words: readonly string[]): readonly string[] => [...XLSNAP, '-c', daemon.uri, 'nbd', ...words];

test.each([
  ['before', '0x11'],
  ['layer', '0x22'],
])('the disk as it was in %s is read by qemu while the guest runs, and Ctrl-C ends it', async (name, pattern) => {
  await using terminal = new Terminal(nbd('g', name, 'xvda'));
  await terminal.until(URI);
  const [uri = '', socket = ''] = URI.exec(terminal.shown) ?? [];
  const read = await run('qemu-io', ['-r', '-f', 'raw', '-c', `read -P ${pattern} 0 64k`, uri]);
  expect(read.stdout).toContain('read 65536/65536 bytes');
  expect(read.stdout).not.toContain('Pattern verification failed');
  await expect(run('qemu-io', ['-f', 'raw', '-c', 'write 0 512', uri])).rejects.toThrow(/read.only|denied/i);
  terminal.press(CTRL_C);
  expect(await terminal.ended()).toBe(130);
  await until(async () => !existsSync(socket));
});

test('a disk and a snapshot that are not there are refused with their names', async () => {
  const refused = async (...words: readonly string[]) => (await runProgram(nbd(...words), [])).stderr;
  expect(await refused('g', 'before', 'xvdz')).toBe(
    "error: snapshot 'before' of domain 'g' has no disk 'xvdz': it has 'xvda'\n",
  );
  expect(await refused('g', 'never', 'xvda')).toMatch(/^error: .*no domain snapshot with matching name 'never'/);
});

test('a pipe below the image is named, and not waited for', async () => {
  const [base, top] = [join(files, 'base'), join(files, 'top')];
  await newImage(base);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top]);
  await writeFile(join(files, 'p.xml'), definitionOf('p', '11111111-2222-3333-4444-000000000010', { xvda: top }));
  await daemon.ok('define', join(files, 'p.xml'));
  await daemon.ok('snapshot-create-as', 'p', 's1', '--disk-only');
  await rm(base);
  await run('mkfifo', [base]);
  const started = Date.now();
  expect((await runProgram(nbd('p', 's1', 'xvda'), [])).stderr).toContain(
    `cannot serve image '${top}': cannot read image '${base}'`,
  );
  expect(Date.now() - started).toBeLessThan(8_000);
});

test('a delete of the snapshot ends it with an error', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await using terminal = new Terminal(nbd('test', 's1', 'xvda'));
  await terminal.until(URI);
  await daemon.ok('snapshot-delete', 'test', 's1');
  expect(await terminal.ended()).toBe(1);
  expect(terminal.shown).toContain("error: snapshot 's1' of domain 'test' was deleted");
});
