/**
 * Disks of running domains whose active image is another than libvirtd knows: `<state dir>/live-disks/<uuid>.json`. A record
 * belongs to one run of a domain: it is ignored if the domain's id differs or the host has rebooted. What it says of a disk
 * counts only while libvirtd shows the disk that it was said of.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskImage } from '../model/disk-image.ts';
import type { DomainDisk, DomainRef } from '../model/domain.ts';
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
  readonly disks: ReadonlyMap<string, LiveDisk>;
}

/** A disk's active image, and as which disk libvirtd shows it. */
interface LiveDisk extends DiskImage {
  readonly shown: Pick<DomainDisk, 'path' | 'bus'>;
}

type Shown = readonly DomainDisk[];

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

  of(ref: DomainRef, shown: Shown): ReadonlyMap<string, DiskImage> {
    const current = [...this.#disksOf(ref)].filter(([target, disk]) => isShown(target, disk, shown));
    return new Map(current.map(([target, { shown: _shown, ...image }]) => [target, image]));
  }

  /** Takes effect at once, even if the record cannot be written: the disks have changed already. */
  async set(ref: DomainRef, images: ReadonlyMap<string, DiskImage>, shown: Shown): Promise<void> {
    const disks = new Map(this.#disksOf(ref));
    for (const [target, image] of images) {
      const disk = shown.find((each) => each.target === target);
      if (!disk || disk.path === image.path) disks.delete(target);
      else disks.set(target, { ...image, shown: identityOf(disk) });
    }
    await this.#record(ref, disks);
  }

  async keepDisks(ref: DomainRef, shown: Shown): Promise<void> {
    const known = this.#disksOf(ref);
    const current = new Map([...known].filter(([target, disk]) => isShown(target, disk, shown)));
    if (current.size < known.size) await this.#record(ref, current);
  }

  async forget(uuid: string): Promise<void> {
    if (this.#runs.delete(uuid)) await removeFile(this.#path(uuid));
  }

  async keep(domains: readonly DomainRef[]): Promise<void> {
    const ids = new Map(domains.map(({ uuid, id }) => [uuid, id]));
    for (const [uuid, { id }] of this.#runs) if (ids.get(uuid) !== id) await this.forget(uuid);
  }

  #disksOf({ uuid, id }: DomainRef): ReadonlyMap<string, LiveDisk> {
    const run = this.#runs.get(uuid);
    return run?.id === id ? run.disks : new Map();
  }

  async #record({ uuid, id }: DomainRef, disks: ReadonlyMap<string, LiveDisk>): Promise<void> {
    if (disks.size === 0) {
      await this.forget(uuid);
      return;
    }
    this.#runs.set(uuid, { id, disks });
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    const record = { boot: this.#bootId, id, disks: Object.fromEntries(disks) };
    await writeFileAtomically(this.#path(uuid), `${JSON.stringify(record)}\n`);
  }

  #path(uuid: string): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

function identityOf({ path, bus }: Pick<DomainDisk, 'path' | 'bus'>): LiveDisk['shown'] {
  return { bus, ...(path !== undefined && { path }) };
}

/** True if libvirtd still shows the disk that the record was made for: it may have been detached, and another attached. */
function isShown(target: string, { shown: { path, bus } }: LiveDisk, shown: Shown): boolean {
  return shown.some((disk) => disk.target === target && disk.path === path && disk.bus === bus);
}

async function listOwn(dir: string): Promise<readonly string[]> {
  await refuseLink(dir);
  return await readdir(dir);
}

/** Returns undefined for a record from before the last boot. */
async function readRun(path: string, bootId: string): Promise<Run | undefined> {
  const { boot, id, disks } = JSON.parse(await readOwnFile(path, MAX_RECORD_BYTES));
  const images = Object.entries<LiveDisk>(disks ?? {});
  const isImage = ({ path, format, shown }: LiveDisk) => typeof path === 'string' && format && shown;
  if (typeof id !== 'number' || !images.every(([, image]) => isImage(image))) {
    throw new Error('not a record of disks');
  }
  return boot === bootId ? { id, disks: new Map(images) } : undefined;
}
