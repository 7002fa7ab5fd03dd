import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { GuestMemory } from '../../../../src/hosts/embedded/memory.ts';
import { encodeMemoryStream, RAM_BYTES } from '../../../../src/memory/embedded-stream.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';
import { until } from '../../../support/until.ts';

const counterOf = async (path: string) => (await readFile(path)).readBigUInt64LE(0);

test('a guest stands until it is run, and again once it is paused', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, '1.ram');
  await using memory = await GuestMemory.create(path);
  await sleep(150);
  expect(await counterOf(path)).toBe(0n);
  memory.run();
  memory.run();
  expect(memory.running).toBe(true);
  await until(async () => (await counterOf(path)) >= 2n);
  await memory.pause();
  expect(memory.running).toBe(false);
  const counter = await counterOf(path);
  await sleep(250);
  expect(await counterOf(path)).toBe(counter);
});

test('a restored guest counts on from where it was, and keeps the rest of its RAM', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, '1.ram');
  const ram = Buffer.alloc(RAM_BYTES, 0x5a);
  ram.writeBigUInt64LE(2n ** 40n);
  await using memory = await GuestMemory.create(path, ram);
  memory.run();
  await until(async () => (await counterOf(path)) > 2n ** 40n);
  await memory.pause();
  expect((await memory.contents()).subarray(8).equals(ram.subarray(8))).toBe(true);
});

test('its file goes with it', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, '1.ram');
  const memory = await GuestMemory.create(path);
  memory.run();
  await memory[Symbol.asyncDispose]();
  await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('RAM that has no room is an error that names its file', async () => {
  await expect(GuestMemory.create('/nonexistent/1.ram')).rejects.toMatchObject({
    code: 'SYSTEM_ERROR',
    message: expect.stringContaining("'/nonexistent/1.ram'"),
  });
});

test('the stream is magic, length, digest, RAM', () => {
  const stream = encodeMemoryStream(Buffer.from('abc'));
  expect(stream.toString('latin1', 0, 16)).toBe('xlsnap test RAM\n');
  expect(stream.readBigUInt64LE(16)).toBe(3n);
  // SHA-256 of "abc", FIPS 180-2 appendix B.1.
  expect(stream.toString('hex', 24, 56)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(stream.toString('latin1', 56)).toBe('abc');
});
