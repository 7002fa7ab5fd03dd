/** Managed saves of embedded domains: `<folder>/<uuid>.save`. */

import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemError } from '../../errors.ts';
import type { EmbeddedDomain } from './domain.ts';

const SUFFIX = '.save';

/** The folder with the images. A domain has one while its `managedSave` says so. */
export class ManagedSaves {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keeps the image of `kept` alone: other domains go with the host that they ran on. */
  static async open(folder: string, kept: EmbeddedDomain['uuid']): Promise<ManagedSaves> {
    const saves = new ManagedSaves(folder);
    const others = (await saves.#images()).filter((file) => file !== `${kept}${SUFFIX}`);
    for (const file of others) await rm(join(folder, file), { force: true });
    return saves;
  }

  /** The folder is there when it returns. */
  async makeFolder(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 }).catch((error) => {
      throw systemError(error, `cannot create folder '${this.#folder}'`);
    });
  }

  /** The name of the domain's image, whether there is one or not. */
  pathOf({ uuid }: Pick<EmbeddedDomain, 'uuid'>): string {
    return join(this.#folder, `${uuid}${SUFFIX}`);
  }

  /** Learns whether an earlier host has left an image of this domain. */
  async find(domain: EmbeddedDomain): Promise<void> {
    domain.managedSave = (await this.#images()).includes(`${domain.uuid}${SUFFIX}`);
  }

  /** Accepts that there is none. */
  async remove(domain: EmbeddedDomain): Promise<void> {
    if (!domain.managedSave) return;
    await rm(this.pathOf(domain), { force: true }).catch((error) => {
      throw systemError(error, `Failed to remove managed save file '${this.pathOf(domain)}'`);
    });
    domain.managedSave = false;
  }

  async #images(): Promise<readonly string[]> {
    return await readdir(this.#folder).catch((error) => {
      if (error.code === 'ENOENT') return [];
      throw systemError(error, `cannot read folder '${this.#folder}'`);
    });
  }
}
