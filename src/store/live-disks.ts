/**
 * Disks of running domains that stand on other images than their libvirtd knows: `<state dir>/live-disks/<uuid>.json`.
 * A record is about one run of a domain: with another id, or after the machine has started anew, it is of no account.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskImage } from '../model/disk-image.ts';
import type { DomainRef } from '../model/domain.ts';
import type { LiveDisks } from '../snapshots/ports.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, writeFileAtomically } from './atomic-file.ts';
import { readOwnFile } from './own-file.ts';
import { pathSegment } from './path-segment.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';
const MAX_RECORD_BYTES = 1024 * 1024;
/** Random at each start of the kernel. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

interface Run {
  readonly id: number;
  readonly disks: ReadonlyMap<string, DiskImage>;
}

export class LiveDiskFiles implements LiveDisks {
  readonly #dir: string;
  readonly #bootId: string;
  readonly #runs: Map<string, Run>;

  private constructor(dir: string, bootId: string, runs: Map<string, Run>) {
    this.#dir = dir;
    this.#bootId = bootId;
    this.#runs = runs;
  }

  /**
   * Reads what an earlier daemon has recorded, and removes what is from before the machine's start. A record that cannot be
   * used is told to `log`, and left out.
   */
  static async open(stateDir: string, log: (text: string) => void): Promise<LiveDiskFiles> {
    const dir = join(stateDir, 'live-disks');
    const bootId = (await readFile(BOOT_ID, 'utf8')).trim();
    const runs = new Map<string, Run>();
    const names = await listOwn(dir).catch((error) => {
      if (!isMissing(error)) log(`cannot read folder '${dir}': ${error.message}`);
      return [];
    });
    for (const name of names.filter((candidate) => candidate.endsWith(SUFFIX))) {
      const path = join(dir, name);
      try {
        const run = await readRun(path, bootId);
        if (run) runs.set(name.slice(0, -SUFFIX.length), run);
        else await removeFile(path);
      } catch (error) {
        log(`cannot use '${path}': ${(error as Error).message}`);
      }
    }
    return new LiveDiskFiles(dir, bootId, runs);
  }

  get any(): boolean {
    return this.#runs.size > 0;
  }

  has(uuid: string): boolean {
    return this.#runs.has(uuid);
  }

  of({ uuid, id }: DomainRef): ReadonlyMap<string, DiskImage> {
    const run = this.#runs.get(uuid);
    return run?.id === id ? run.disks : new Map();
  }

  /** Known at once, whether or not it could be written: what is on the disks does not wait. */
  async set(ref: DomainRef, images: ReadonlyMap<string, DiskImage>): Promise<void> {
    const disks = new Map([...this.of(ref), ...images]);
    this.#runs.set(ref.uuid, { id: ref.id, disks });
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    const record = { boot: this.#bootId, id: ref.id, disks: Object.fromEntries(disks) };
    await writeFileAtomically(this.#path(ref.uuid), `${JSON.stringify(record)}\n`);
  }

  async forget(uuid: string): Promise<void> {
    if (this.#runs.delete(uuid)) await removeFile(this.#path(uuid));
  }

  async keep(domains: readonly DomainRef[]): Promise<void> {
    const ids = new Map(domains.map(({ uuid, id }) => [uuid, id]));
    for (const [uuid, { id }] of this.#runs) if (ids.get(uuid) !== id) await this.forget(uuid);
  }

  #path(uuid: string): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

async function listOwn(dir: string): Promise<readonly string[]> {
  await refuseLink(dir);
  return await readdir(dir);
}

/** Undefined for one of before the machine's start. */
async function readRun(path: string, bootId: string): Promise<Run | undefined> {
  const { boot, id, disks } = JSON.parse(await readOwnFile(path, MAX_RECORD_BYTES));
  const images = Object.entries<DiskImage>(disks ?? {});
  if (typeof id !== 'number' || !images.every(([, image]) => typeof image.path === 'string' && image.format)) {
    throw new Error('it is no record of disks');
  }
  return boot === bootId ? { id, disks: new Map(images) } : undefined;
}
