/**
 * The place of a managed save while libvirtd writes it: a link into this process, since libvirtd would start the domain from
 * whatever is there. If this process ends, or the host, the link leads nowhere: the domain boots, from its persistent definition.
 */

import { type FileHandle, lstat, open, rename, rm, stat, symlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtError, systemError } from '../../../errors.ts';
import type { NewImage } from '../held-image.ts';

/** libxl needs longer than this to save the smallest guest. */
const POLL_MS = 5;

/** libvirtd refuses to start a domain from it: `image magic is incorrect`. */
const NO_IMAGE = '/dev/zero';

/** A link at the place of the managed save. Disposing removes it, but not what has taken its place. */
export class ManagedLink implements AsyncDisposable {
  readonly #path: string;
  readonly #image: NewImage;
  readonly #nothing: FileHandle;

  private constructor(path: string, image: NewImage, nothing: FileHandle) {
    this.#path = path;
    this.#image = image;
    this.#nothing = nothing;
  }

  /** Refuses (84) a libvirtd that cannot open files of this process. */
  static async make(path: string, image: NewImage): Promise<ManagedLink> {
    if (image.at === image.path) {
      const text = `libvirtd cannot open files of this process: save the domain to a file instead ('virsh save')`;
      throw new LibvirtError('OPERATION_UNSUPPORTED', text);
    }
    const link = new ManagedLink(path, image, await open(NO_IMAGE, 'r'));
    try {
      await link.#lead(image.at);
      return link;
    } catch (error) {
      await link[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Has `save` write the image through the link. As soon as libvirtd has opened it, the link leads to something that no domain
   * is started from: the image names the base images until it is completed.
   */
  async whileWritten<T>(save: () => Promise<T>): Promise<T> {
    let ended = false;
    const hide = async (): Promise<void> => {
      while (!ended && (await stat(this.#image.at)).size === 0) await sleep(POLL_MS);
      await this.#lead(`/proc/${process.pid}/fd/${this.#nothing.fd}`);
    };
    const hidden = hide();
    // It is awaited below; until then its failure is nobody's.
    hidden.catch(() => undefined);
    try {
      return await save();
    } finally {
      ended = true;
      await hidden;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeLink(this.#path);
    await this.#nothing.close();
  }

  /** At no moment is there nothing. */
  async #lead(target: string): Promise<void> {
    const fresh = `${this.#path}.link`;
    try {
      await rm(fresh, { force: true });
      await symlink(target, fresh);
      await rename(fresh, this.#path);
    } catch (error) {
      throw systemError(error, `cannot make link '${this.#path}'`);
    }
  }
}

/** Removes the link of a save that was interrupted; what is in its place by now stays. */
export async function removeLink(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSymbolicLink()) await rm(path, { force: true });
}
