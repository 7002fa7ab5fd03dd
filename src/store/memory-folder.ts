/**
 * The folder of memory images: `<memory dir>/<uuid>/<snapshot>.save`. They hold a guest's RAM, so only their owner can
 * read them.
 */

import { constants } from 'node:fs';
import { access, chown, lstat, open, readdir, stat } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { partialOf } from '../model/phases.ts';
import type { MemoryImages } from '../snapshots/ports/store.ts';
import { isMissing, makeFolder, makeOwnFolder, refuseLink, removeEmptyFolder, removeFile } from './atomic-file.ts';
import { requireOwnFile } from './own-file.ts';
import { pathSegment } from './path-segment.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.save';

/** The user that writes the images, if it is not this process's. */
export interface ImageWriter {
  readonly uid: number;
  readonly gid: number;
}

/** MemoryImages in a folder. */
export class MemoryFiles implements MemoryImages {
  readonly #dir: string;
  readonly #writer: ImageWriter | undefined;

  /** `writer` becomes the folders' owner: a libvirtd of another user saves its domains there itself. */
  constructor(dir: string, writer?: ImageWriter) {
    this.#dir = dir;
    this.#writer = writer;
  }

  /** Creates the folder and gives it to its writer. Await it before domains are saved. */
  async open(): Promise<void> {
    await makeFolder(this.#dir, FOLDER_MODE);
    await this.#handOver(this.#dir);
  }

  path(domain: DomainRef, name: string): string {
    return join(this.#folder(domain), pathSegment(`${name}${SUFFIX}`));
  }

  async list(domain: DomainRef): Promise<readonly string[]> {
    const folder = this.#folder(domain);
    await refuseLink(folder);
    const files = await readdir(folder).catch((error) => {
      if (isMissing(error)) return [];
      throw systemError(error, `cannot read folder '${folder}'`);
    });
    return files
      .filter((file) => file.endsWith(SUFFIX) && file !== SUFFIX)
      .map((file) => file.slice(0, -SUFFIX.length));
  }

  async prepare(domain: DomainRef, name: string): Promise<void> {
    const folder = this.#folder(domain);
    const path = this.path(domain, name);
    if (await exists(path)) {
      throw new LibvirtError(
        'OPERATION_FAILED',
        `memory image '${path}' already exists, of a snapshot without metadata that the disks still hold: choose another name, or delete that snapshot by 'xlsnap doctor --fix --orphans'`,
      );
    }
    await makeOwnFolder(folder, FOLDER_MODE);
    await this.#handOver(folder);
  }

  async prepareFile(domain: DomainRef, path: string, { reuse }: { readonly reuse: boolean }): Promise<void> {
    const unusable = (error: unknown) =>
      systemError(error, `cannot use '${path}' for the memory of domain '${domain.name}'`);
    await stat(dirname(path)).catch((error) => {
      throw unusable(error);
    });
    const found = await stat(path).catch((error) => {
      if (!isMissing(error)) throw unusable(error);
    });
    if (found && !found.isFile()) {
      throw new LibvirtError('CONFIG_UNSUPPORTED', `external memory snapshot file '${path}' is not a regular file`);
    }
    if (found && found.size > 0 && !reuse) {
      throw new LibvirtError(
        'OPERATION_FAILED',
        `external memory snapshot file '${path}' already exists: remove it, choose another, or ask for --reuse-external`,
      );
    }
  }

  /** Checks only files in our folder: users choose external files themselves. */
  async check(path: string): Promise<void> {
    if (!this.#isOurs(path)) return;
    if (dirname(path) !== this.#dir) await refuseLink(dirname(path));
    await requireOwnFile(path, 'memory image');
  }

  async checkRemoval(path: string): Promise<void> {
    if (!(await exists(path))) return;
    if (this.#isOurs(path)) await refuseLink(dirname(path));
    await access(dirname(path), constants.W_OK | constants.X_OK).catch((error) => {
      throw systemError(error, `cannot remove memory image '${path}'`);
    });
  }

  async removeFile(path: string): Promise<void> {
    await removeImage(path);
    await removeFile(partialOf(path));
  }

  async remove(domain: DomainRef, name: string): Promise<void> {
    const path = this.path(domain, name);
    await refuseLink(dirname(path));
    await removeImage(path);
    await removeFile(partialOf(path));
    await removeEmptyFolder(dirname(path));
  }

  async tidy(domain: DomainRef): Promise<void> {
    await removeEmptyFolder(this.#folder(domain));
  }

  async #handOver(folder: string): Promise<void> {
    if (!this.#writer) return;
    const { uid, gid } = this.#writer;
    await chown(folder, uid, gid).catch((error) => {
      throw systemError(error, `cannot give '${folder}' to user ${uid}, who writes memory images there`);
    });
  }

  #isOurs(path: string): boolean {
    return relative(this.#dir, path).split(sep)[0] !== '..';
  }

  #folder(domain: DomainRef): string {
    return join(this.#dir, pathSegment(domain.uuid));
  }
}

/** Does not follow links, nor wait for a pipe's reader. */
const WRITE_NO_LINK = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Removes an image and frees its space: a restored guest's device model keeps the image open, since libxl passes the
 * descriptor on to it, and nobody reads from it any more. Does not empty a file that still has another name.
 */
async function removeImage(path: string): Promise<void> {
  // A file that cannot be opened like this is not an image of ours; it is only removed.
  await using file = await open(path, WRITE_NO_LINK).catch(() => undefined);
  await removeFile(path);
  const left = await file?.stat();
  // The image is removed already; truncating only frees its space.
  if (left?.isFile() && left.nlink === 0) await file?.truncate().catch(() => undefined);
}

/** True for a symbolic link, too, even a dangling one. */
async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}
