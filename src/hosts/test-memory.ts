/**
 * RAM of an embedded guest: a small file in the state folder, whose first eight bytes (little endian) count up while the
 * guest runs. So anyone can see from outside that a guest runs, stands, or is back at an earlier moment.
 */

import { createHash } from 'node:crypto';
import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises';
import { LibvirtError, systemError } from '../errors.ts';

/** Whatever the definition says: nobody computes in there. */
export const RAM_BYTES = 4 << 20;
const TICK_MS = 100;

/** The stream that follows libvirt's save header: magic, length of the RAM (64 bits, little endian), SHA-256 of it, RAM. */
const STREAM_MAGIC = Buffer.from('xlsnap test RAM\n', 'latin1');
const LENGTH_AT = STREAM_MAGIC.length;
const DIGEST_AT = LENGTH_AT + 8;
const RAM_AT = DIGEST_AT + 32;

export class GuestMemory implements AsyncDisposable {
  readonly path: string;
  readonly #file: FileHandle;
  #counter: bigint;
  #timer: NodeJS.Timeout | undefined;
  #lastTick: Promise<unknown> = Promise.resolve();

  private constructor(path: string, file: FileHandle, counter: bigint) {
    this.path = path;
    this.#file = file;
    this.#counter = counter;
  }

  /** A new guest's RAM, or with `contents` that of a restored one. It stands until `run`. */
  static async create(path: string, contents: Buffer = Buffer.alloc(RAM_BYTES)): Promise<GuestMemory> {
    try {
      await writeFile(path, contents, { mode: 0o600 });
      const file = await open(path, 'r+');
      return new GuestMemory(path, file, contents.readBigUInt64LE(0));
    } catch (error) {
      await rm(path, { force: true });
      throw systemError(error, `cannot create the memory of a guest, '${path}'`);
    }
  }

  get running(): boolean {
    return this.#timer !== undefined;
  }

  run(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
  }

  /** The guest stands when this returns: nothing more is written. */
  async pause(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#lastTick;
  }

  /** Everything in it. Coherent only while the guest stands. */
  async contents(): Promise<Buffer> {
    return readFile(this.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pause();
    await this.#file.close();
    await rm(this.path, { force: true });
  }

  #tick(): void {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64LE(++this.#counter);
    // In order, and a full disk must not end the daemon: the guest's clock stands still then.
    this.#lastTick = this.#lastTick.then(() => this.#file.write(counter, 0, counter.length, 0)).catch(() => {});
  }
}

/** RAM as a stream for a memory image. */
export function encodeMemoryStream(ram: Buffer): Buffer {
  const head = Buffer.alloc(RAM_AT);
  STREAM_MAGIC.copy(head);
  head.writeBigUInt64LE(BigInt(ram.length), LENGTH_AT);
  createHash('sha256').update(ram).digest().copy(head, DIGEST_AT);
  return Buffer.concat([head, ram]);
}

/** The RAM in an image's stream. Refuses a stream that is not ours, was cut short or was changed. */
export async function readMemoryStream(path: string, offset: number): Promise<Buffer> {
  const refuse = (text: string): never => {
    throw new LibvirtError('OPERATION_FAILED', `memory image '${path}' ${text}`);
  };
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const head = Buffer.alloc(RAM_AT);
  const { bytesRead } = await file.read(head, 0, RAM_AT, offset);
  if (bytesRead < RAM_AT) refuse('is cut short');
  if (!head.subarray(0, LENGTH_AT).equals(STREAM_MAGIC)) refuse('is not of the embedded host');
  const saved = head.readBigUInt64LE(LENGTH_AT);
  const found = size - offset - RAM_AT;
  if (saved !== BigInt(RAM_BYTES) || found !== RAM_BYTES) refuse(`has ${found} bytes of RAM where ${saved} were saved`);
  const ram = Buffer.alloc(RAM_BYTES);
  await file.read(ram, 0, RAM_BYTES, offset + RAM_AT);
  const digest = createHash('sha256').update(ram).digest();
  if (!digest.equals(head.subarray(DIGEST_AT))) refuse('is damaged: the digest of its RAM is wrong');
  return ram;
}
