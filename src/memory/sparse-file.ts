/**
 * Memory images without their zeros: a page that a guest has never used, or has cleared, becomes a hole in the file, which
 * reads as zeros and takes no space. A file system without holes fills them with zeros by itself.
 */

import { fstat, ftruncate, read, write } from 'node:fs';
import { promisify } from 'node:util';

const fstatAsync = promisify(fstat);
const ftruncateAsync = promisify(ftruncate);
const readAsync = promisify(read);
const writeAsync = promisify(write);

/** A page of a guest, and a block of the usual file systems: the smallest hole. */
const BLOCK_BYTES = 4096;

/** Bytes that `copySparsely` reads before it writes. */
const CHUNK_BYTES = 256 * BLOCK_BYTES;

const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** Appends to an open file that nobody else writes to. Not for a descriptor with O_APPEND, which ignores positions. */
export class SparseWriter {
  readonly #fd: number;
  #position: number;
  /** End of the last bytes that were written; the file has this size until `end`. */
  #written: number;

  /** `size`: the file's size now. */
  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#position = size;
    this.#written = size;
  }

  /** Bytes from the position to the next whole block of the file. */
  get #untilBlock(): number {
    return (BLOCK_BYTES - (this.#position % BLOCK_BYTES)) % BLOCK_BYTES;
  }

  /** Appends the bytes, but for whole blocks of the file that are zero. Rejects with the system's error. */
  async append(bytes: Buffer): Promise<void> {
    let from: number | undefined;
    for (let at = 0; at < bytes.length; ) {
      const next = Math.min(bytes.length, at === 0 && this.#untilBlock > 0 ? this.#untilBlock : at + BLOCK_BYTES);
      if (!isHole(bytes, at, next)) from ??= at;
      else if (from !== undefined) {
        await this.#write(bytes, from, at);
        from = undefined;
      }
      at = next;
    }
    if (from !== undefined) await this.#write(bytes, from, bytes.length);
    this.#position += bytes.length;
  }

  /** Gives the file its size, also if its last blocks are a hole, and returns it. */
  async end(): Promise<number> {
    if (this.#written < this.#position) await ftruncateAsync(this.#fd, this.#position);
    this.#written = this.#position;
    return this.#position;
  }

  async #write(bytes: Buffer, from: number, to: number): Promise<void> {
    // XFS has allocated blocks beyond the end already. Before they become a part of the file they are given up.
    if (this.#position + from > this.#written) await ftruncateAsync(this.#fd, this.#written);
    for (let at = from; at < to; ) {
      const { bytesWritten } = await writeAsync(this.#fd, bytes, at, to - at, this.#position + at);
      at += bytesWritten;
    }
    this.#written = this.#position + to;
  }
}

/** Appends everything that comes from a pipe, until its writers have closed it, to a file. Rejects with the system's error. */
export async function copySparsely(pipe: number, file: number): Promise<void> {
  const { size } = await fstatAsync(file);
  const writer = new SparseWriter(file, size);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  // The first chunk is shorter by what is in the file's last block, so that all others begin with a whole block.
  let room = CHUNK_BYTES - (size % BLOCK_BYTES);
  for (let filled = 0; ; ) {
    const { bytesRead } = await readAsync(pipe, chunk, filled, room - filled, null);
    filled += bytesRead;
    if (bytesRead > 0 && filled < room) continue;
    await writer.append(chunk.subarray(0, filled));
    if (bytesRead === 0) break;
    room = CHUNK_BYTES;
    filled = 0;
  }
  await writer.end();
}

/** True for a whole block of zeros. */
function isHole(bytes: Buffer, from: number, to: number): boolean {
  return to - from === BLOCK_BYTES && bytes[from] === 0 && bytes.compare(ZEROS, 0, BLOCK_BYTES, from, to) === 0;
}
