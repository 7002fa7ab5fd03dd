/**
 * Files that we make in folders which other users may change. Between two of our steps their owner can put anything in a
 * file's place, a link to a file of root's for instance: so the file is opened once, and written to, given away, renamed
 * and removed only if it is the one that was opened.
 */

import { constants } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../errors.ts';
import { type FileAt, idOf, isAtItsPath, replaced } from './same-file.ts';

const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;

/** Mode bits of those who may change what is in a folder. */
const OTHERS_WRITE = 0o022;

/** An open file and its folder, which stays the same one if its name is given to another. Disposing closes both. */
export class MadeFile implements AsyncDisposable {
  readonly handle: FileHandle;
  readonly #folder: FileHandle;
  readonly #id: string;
  #path: string;

  private constructor(path: string, folder: FileHandle, handle: FileHandle, id: string) {
    this.#path = path;
    this.#folder = folder;
    this.handle = handle;
    this.#id = id;
  }

  /** Makes an empty file that its owner alone can read. Rejects with the system's error, EEXIST for whatever is there. */
  static async create(path: string): Promise<MadeFile> {
    return await MadeFile.#open(path, async (place) => await open(place, NEW, 0o600));
  }

  /**
   * Opens what a caller has made for us: a block device or a regular file. A link is followed only in a folder that root
   * alone can change, such as those of /dev.
   */
  static async existing(path: string): Promise<MadeFile> {
    return await MadeFile.#open(path, async (place, folder) => {
      const { uid, mode } = await folder.stat();
      const trusted = (uid === 0 || uid === process.geteuid?.()) && (mode & OTHERS_WRITE) === 0;
      const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
      const handle = await open(place, trusted ? flags : flags | constants.O_NOFOLLOW).catch((error) => {
        throw error.code === 'ELOOP' ? linkRefused(path) : error;
      });
      const found = await handle.stat();
      if (found.isFile() || found.isBlockDevice()) return handle;
      await handle.close();
      throw new LibvirtError('OPERATION_FAILED', `'${path}' is neither a regular file nor a block device`);
    });
  }

  static async #open(
    path: string,
    opening: (place: string, folder: FileHandle) => Promise<FileHandle>,
  ): Promise<MadeFile> {
    const folder = await open(dirname(path), FOLDER);
    try {
      const handle = await opening(placeIn(folder, path), folder);
      return new MadeFile(path, folder, handle, idOf(await handle.stat({ bigint: true })));
    } catch (error) {
      await folder.close();
      throw error;
    }
  }

  /** Its name as of now. */
  get at(): FileAt {
    return { path: this.#path, id: this.#id };
  }

  /** Renames it within its folder, durably. Refuses if another file is in its place, before or afterwards. */
  async rename(path: string): Promise<void> {
    await this.requirePlace();
    await rename(placeIn(this.#folder, this.#path), placeIn(this.#folder, path));
    this.#path = path;
    await this.requirePlace();
    await this.#folder.sync();
  }

  /** Contents and name are on stable storage when it returns. */
  async sync(): Promise<void> {
    await this.handle.sync();
    await this.#folder.sync();
  }

  /** Refuses (OPERATION_FAILED) to go on if another file, or a link, is in its place. */
  async requirePlace(): Promise<void> {
    if (!(await isIn(this.#folder, this.at))) throw replaced(this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
    await this.#folder.close();
  }
}

/** Removes a file that was made, durably. What is in its place by now stays; a missing file or folder is not an error. */
export async function removeSame(file: FileAt): Promise<void> {
  const folder = await open(dirname(file.path), FOLDER).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (!folder) return;
  await using opened = folder;
  if (!(await isIn(opened, file))) return;
  await unlink(placeIn(opened, file.path));
  await opened.sync();
}

async function isIn(folder: FileHandle, { path, id }: FileAt): Promise<boolean> {
  return await isAtItsPath({ path: placeIn(folder, path), id });
}

/** As openat(2), which Node does not have: in the folder that is open, whatever its name leads to by now. */
function placeIn(folder: FileHandle, path: string): string {
  return join(`/proc/self/fd/${folder.fd}`, basename(path));
}

function linkRefused(path: string): LibvirtError {
  const text = `'${path}' is a symbolic link in a folder that others than root can change: name the file that it leads to`;
  return new LibvirtError('OPERATION_FAILED', text);
}
