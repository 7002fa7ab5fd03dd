/**
 * RAM of an embedded guest: a small file in the state folder, whose first eight bytes (little endian) count up while
 * the guest runs. So anyone can see from outside that a guest runs, is paused, or is back at an earlier moment.
 */

import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises';
import { systemError } from '../../errors.ts';
import { RAM_BYTES } from '../../memory/embedded-stream.ts';

/** Interval at which the counter of a running guest goes up. */
export const TICK_MS = 100;

/** RAM of one run of a guest. Disposing pauses the guest and removes the file. */
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

  /** Creates a new guest's RAM, or with `contents` that of a restored one. It is paused until `run`. */
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

  /** The guest is paused when this returns: nothing more is written. */
  async pause(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#lastTick;
  }

  /** Reads all of it. Coherent only while the guest is paused. */
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
    // Ticks are written in order. A full disk must not end the daemon: then the guest's counter stops.
    this.#lastTick = this.#lastTick.then(() => this.#file.write(counter, 0, counter.length, 0)).catch(() => {});
  }
}
