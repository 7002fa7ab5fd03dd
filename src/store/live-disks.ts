/**
 * Disks of running domains whose active image is another than libvirtd knows: `<state dir>/live-disks/<uuid>.json`. A record
 * belongs to one run of a domain: it is ignored if the domain's id differs or the host has rebooted.
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
/** A random UUID for each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

interface Run {
  readonly id: number;
  readonly disks: ReadonlyMap<string, DiskImage>;
}

/** LiveDisks in files, so that they survive a restart of the daemon. */
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
   * Reads the records of an earlier daemon and removes those from before the last boot. Reports a record that cannot be used
   * to `log` and leaves it out.
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

  /** Takes effect at once, even if the record cannot be written: the disks have changed already. */
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

/** Returns undefined for a record from before the last boot. */
async function readRun(path: string, bootId: string): Promise<Run | undefined> {
  const { boot, id, disks } = JSON.parse(await readOwnFile(path, MAX_RECORD_BYTES));
  const images = Object.entries<DiskImage>(disks ?? {});
  if (typeof id !== 'number' || !images.every(([, image]) => typeof image.path === 'string' && image.format)) {
    throw new Error('not a record of disks');
  }
  return boot === bootId ? { id, disks: new Map(images) } : undefined;
}
