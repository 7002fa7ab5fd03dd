/** A memory image that is being written. */

import { rm } from 'node:fs/promises';
import { isLibvirtError, systemError } from '../errors.ts';
import { MadeFile, removeSame } from '../files/made-file.ts';
import type { FileAt } from '../files/same-file.ts';
import { partialOf } from '../model/phases.ts';
import { encodeMemoryImageHeader, putTie } from './image-file.ts';
import { SparseWriter } from './sparse-file.ts';

/** An image that has the name `<path>.partial` until it is finished: a name without `.partial` is a whole image. */
export class PartialMemoryImage {
  readonly path: string;
  readonly partialPath: string;
  readonly streamOffset: number;
  readonly #file: MadeFile;

  private constructor(path: string, streamOffset: number, file: MadeFile) {
    this.path = path;
    this.partialPath = file.at.path;
    this.streamOffset = streamOffset;
    this.#file = file;
  }

  /** Writes the header. The caller then appends the stream, and finishes or discards the image. */
  static async create(path: string, domainXml: string): Promise<PartialMemoryImage> {
    const header = encodeMemoryImageHeader(domainXml);
    const partialPath = partialOf(path);
    try {
      // What a crash has left there, or a link: nothing is written to it.
      await rm(partialPath, { force: true });
      const file = await MadeFile.create(partialPath);
      const image = new PartialMemoryImage(path, header.length, file);
      try {
        await file.handle.writeFile(header);
        return image;
      } catch (error) {
        await image.discard().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      throw systemError(error, `Failed to create domain save file '${path}'`);
    }
  }

  /** For a process that appends the stream itself. */
  get file(): FileAt {
    return this.#file.at;
  }

  /** Appends a part of the stream, without its zeros. */
  async append(bytes: Buffer): Promise<void> {
    const writer = new SparseWriter(this.#file.handle.fd, await this.size());
    await writer.append(bytes);
    await writer.end();
  }

  /** Size of the file so far. */
  async size(): Promise<number> {
    return (await this.#file.handle.stat()).size;
  }

  /** Makes the image durable under its own name and returns its size. `tie`: from tieOf. */
  async finish(tie?: string): Promise<number> {
    try {
      if (tie !== undefined) await putTie(this.#file.handle, tie);
      await this.#file.handle.sync();
      const size = await this.size();
      await this.#file.rename(this.path);
      await this.#file[Symbol.asyncDispose]();
      return size;
    } catch (error) {
      throw isLibvirtError(error) ? error : systemError(error, `Failed to finish domain save file '${this.path}'`);
    }
  }

  /** Removes the file, under the name that it has now; a file that has replaced it stays. */
  async discard(): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
    await removeSame(this.#file.at);
  }
}
