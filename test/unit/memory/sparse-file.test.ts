/** Files are the same to a reader, and smaller: on the file system that the tests run on, which has holes. */

import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { copySparsely, SparseWriter } from '../../../src/memory/sparse-file.ts';
import { openSystemCalls } from '../../../src/native/system-calls.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';
import { numbers } from '../../support/random.ts';

const BLOCK = 4096;

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let path: string;
let fd: number;

beforeEach(async () => {
  folder = await scratchFolder();
  path = join(folder.path, 'image');
  fd = openSync(path, 'wx');
});

afterEach(async () => {
  closeSync(fd);
  await folder[Symbol.asyncDispose]();
});

const allocated = () => statSync(path).blocks * 512;

/** Writes the parts behind a header, and returns the file's contents. */
async function written(header: number, ...parts: readonly Buffer[]): Promise<Buffer> {
  if (header > 0) writeSync(fd, Buffer.alloc(header, 0xee));
  const writer = new SparseWriter(fd, header);
  for (const part of parts) await writer.append(part);
  expect(await writer.end()).toBe(header + Buffer.concat(parts).length);
  return readFileSync(path).subarray(header);
}

describe('zeros', () => {
  test.each([0, 1, 64, BLOCK - 1, BLOCK])(
    'between two words take no space, behind a header of %i bytes',
    async (header) => {
      const stream = Buffer.alloc(1 << 20);
      stream.write('first');
      stream.write('last', stream.length - 4);
      expect((await written(header, stream)).equals(stream)).toBe(true);
      expect(allocated()).toBeLessThanOrEqual(header + 3 * BLOCK);
    },
  );

  test('at the end are a part of the file', async () => {
    const stream = Buffer.concat([Buffer.from('word'), Buffer.alloc(1 << 20)]);
    expect((await written(0, stream)).equals(stream)).toBe(true);
    expect(allocated()).toBeLessThanOrEqual(2 * BLOCK);
  });

  test('that are no whole block are written', async () => {
    const stream = Buffer.alloc(2 * BLOCK, 1);
    stream.fill(0, 1, 2 * BLOCK - 1);
    expect((await written(0, stream)).equals(stream)).toBe(true);
    expect(allocated()).toBeGreaterThanOrEqual(2 * BLOCK);
  });

  test('alone make a file of its size', async () => {
    expect((await written(0, Buffer.alloc(10 * BLOCK))).equals(Buffer.alloc(10 * BLOCK))).toBe(true);
    expect(allocated()).toBe(0);
  });
});

/** Runs of pages, half of them zero, at any alignment: as libxl's records have them. */
function stream(next: (limit: number) => number): Buffer {
  const runs = Array.from({ length: 20 }, () => {
    const bytes = next(6 * BLOCK);
    return next(2) === 0 ? Buffer.alloc(bytes) : Buffer.alloc(bytes, next(256));
  });
  return Buffer.concat(runs);
}

/** The blocks of the file that are not zero. */
const blocksWithData = (file: Buffer): number =>
  Array.from({ length: Math.ceil(file.length / BLOCK) }, (_, i) => file.subarray(i * BLOCK, (i + 1) * BLOCK)).filter(
    (block) => block.some((byte) => byte !== 0),
  ).length;

test.each(Array.from({ length: 20 }, (_, seed) => seed))(
  'any stream comes back, in whatever parts it is written (seed %i)',
  async (seed) => {
    const next = numbers(seed);
    const bytes = stream(next);
    const header = next(3 * BLOCK);
    const parts: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += parts.at(-1)?.length ?? 0) {
      parts.push(bytes.subarray(at, at + 1 + next(5 * BLOCK)));
    }
    expect((await written(header, ...parts)).equals(bytes)).toBe(true);
  },
);

describe('from a pipe', () => {
  /** Another process writes the stream into the pipe, in pieces. */
  async function piped(bytes: Buffer): Promise<void> {
    const { reader, writer } = (await openSystemCalls()).pipe(64 << 10);
    const child = spawn('dd', ['bs=5000', 'status=none'], { stdio: ['pipe', writer, 'ignore'] });
    child.stdin?.end(bytes);
    closeSync(writer);
    await copySparsely(reader, fd).finally(() => closeSync(reader));
  }

  test.each(Array.from({ length: 5 }, (_, seed) => seed))(
    'only blocks with data are allocated (seed %i)',
    async (seed) => {
      const next = numbers(seed);
      const header = Buffer.alloc(next(3 * BLOCK), 0xee);
      writeSync(fd, header);
      const bytes = Buffer.concat(Array.from({ length: 40 }, () => stream(next)));
      await piped(bytes);
      const file = Buffer.concat([header, bytes]);
      expect(readFileSync(path).equals(file)).toBe(true);
      // The file's first bytes, and its last, are no whole blocks of what came.
      expect(allocated()).toBeLessThanOrEqual((blocksWithData(file) + 2) * BLOCK);
    },
  );

  test('nothing leaves the file as it was', async () => {
    writeSync(fd, 'header');
    await piped(Buffer.alloc(0));
    expect(readFileSync(path, 'utf8')).toBe('header');
    expect(fstatSync(fd).size).toBe(6);
  });
});
