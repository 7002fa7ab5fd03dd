/** A qemu-nbd that cannot serve, or fails in between: each time one clear error, and nobody waits. */

import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { diskContents } from '../../../../src/disks/qemu/disk-contents.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

let folder: Awaited<ReturnType<typeof scratchFolder>>;
const { PATH, TMPDIR } = process.env;

beforeEach(async () => {
  folder = await scratchFolder();
  process.env.PATH = folder.path;
  process.env.TMPDIR = folder.path;
});

afterEach(async () => {
  process.env.PATH = PATH;
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  await folder[Symbol.asyncDispose]();
});

/** What a reader of the disk gets if qemu-nbd is this program, which has the socket's path in `path`. */
async function read(program?: string): Promise<string> {
  if (program !== undefined) {
    const file = join(folder.path, 'qemu-nbd');
    await writeFile(file, `#!${process.execPath}\nconst [, , , , path] = process.argv;\n${program}\n`);
    await chmod(file, 0o755);
  }
  const read = await buffer(diskContents({ path: '/d/a.qcow2', format: 'qcow2' })).then(
    (bytes) => bytes.toString(),
    ({ code, detail }) => `${code}: ${detail}`,
  );
  expect(await readdir(folder.path)).toEqual(program === undefined ? [] : ['qemu-nbd']);
  return read;
}

/** Serves a disk of four bytes: `reply` comes after each request to read. */
const serving = (reply: string) => `
  require('node:net').createServer((socket) => {
    socket.write(Buffer.alloc(18));
    socket.once('data', () => {
      socket.write(Buffer.from('00000000000000040000', 'hex'));
      socket.once('data', () => { ${reply} });
    });
  }).listen(path);
`;

const CANNOT = "OPERATION_FAILED: cannot read the disk in image '/d/a.qcow2': ";

test('the disk is read', async () => {
  expect(await read(serving("socket.write(Buffer.concat([Buffer.alloc(16), Buffer.from('disk')]))"))).toBe('disk');
});

test('one that is not installed is named, with its package', async () => {
  expect(await read()).toBe(`${CANNOT}'qemu-nbd' is not installed (Debian package qemu-utils)`);
});

test('one that ends at once: its own words, if it has any', async () => {
  expect(await read("console.error('no such image'); process.exit(1)")).toBe(`${CANNOT}no such image`);
  expect(await read('process.exit(1)')).toBe(`${CANNOT}qemu-nbd did not start to serve within 10 seconds`);
});

test('one that cannot read the disk: its error counts, and no block is made of what follows', async () => {
  const failing =
    "const reply = Buffer.alloc(16); reply[7] = 5; socket.write(Buffer.concat([reply, Buffer.from('disk')]))";
  expect(await read(serving(failing))).toBe(`${CANNOT}qemu-nbd has error 5 at byte 0`);
});

test('one that ends in the middle', async () => {
  expect(await read(serving('socket.end(Buffer.alloc(16))'))).toBe(`${CANNOT}qemu-nbd has ended early`);
});
