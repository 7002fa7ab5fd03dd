/**
 * Disks of running domains whose active image is another than libvirtd knows: `<state dir>/live-disks/<uuid>.json`. A record
 * belongs to one run of a domain: it is ignored if the domain's id differs or the host has rebooted. What it says of a disk
 * counts only while libvirtd shows the disk that it was said of.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainDisk, DomainRef } from '../../model/domain.ts';
import type { LiveDisks } from '../../snapshots/ports/store.ts';
import { STATE_FOLDERS } from '../default-folders.ts';
import { RecordFolder } from './record-folder.ts';

/** A random UUID for each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

interface Run {
  /** The BOOT_ID of its boot. */
  readonly boot: string;
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
  readonly #records: RecordFolder<Run>;
  readonly #bootId: string;
  readonly #runs = new Map<string, Run>();
  /** Records that cannot be read, by UUID, and why. */
  readonly #unreadable = new Map<string, LibvirtError>();

  private constructor(records: RecordFolder<Run>, bootId: string) {
    this.#records = records;
    this.#bootId = bootId;
  }

  /**
   * Reads the records of an earlier daemon and removes those from before the last boot. Reports a record that cannot be read
   * to `log`; it stays, and its domain is refused, until that run of the domain has ended. Rejects if the folder cannot be read.
   */
  static async open(stateDir: string, log: (text: string) => void): Promise<LiveDiskFiles> {
    const dir = join(stateDir, STATE_FOLDERS.liveDisks);
    const records = new RecordFolder({ dir, what: 'a record of disks', read: readRun });
    const bootId = (await readFile(BOOT_ID, 'utf8')).trim();
    const files = new LiveDiskFiles(records, bootId);
    for (const [uuid, record] of await records.all()) {
      if (record instanceof LibvirtError) {
        files.#unreadable.set(uuid, record);
        log(record.detail);
      } else if (record.boot === bootId) files.#runs.set(uuid, record);
      else await records.remove(uuid);
    }
    return files;
  }

  get any(): boolean {
    return this.#runs.size + this.#unreadable.size > 0;
  }

  has(uuid: string): boolean {
    return this.#runs.has(uuid) || this.#unreadable.has(uuid);
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

  async keepDisks(ref: DomainRef, shown: Shown): Promise<readonly string[]> {
    const known = this.#disksOf(ref);
    const current = new Map([...known].filter(([target, disk]) => isShown(target, disk, shown)));
    if (current.size < known.size) await this.#record(ref, current);
    return [...known.keys()].filter((target) => !current.has(target));
  }

  async forget(uuid: string): Promise<void> {
    const known = this.#runs.delete(uuid);
    if (this.#unreadable.delete(uuid) || known) await this.#records.remove(uuid);
  }

  async keep(domains: readonly DomainRef[]): Promise<void> {
    const ids = new Map(domains.map(({ uuid, id }) => [uuid, id]));
    for (const [uuid, { id }] of this.#runs) if (ids.get(uuid) !== id) await this.forget(uuid);
    for (const uuid of this.#unreadable.keys()) if ((ids.get(uuid) ?? -1) < 0) await this.forget(uuid);
  }

  #disksOf({ name, uuid, id }: DomainRef): ReadonlyMap<string, LiveDisk> {
    const unreadable = id < 0 ? undefined : this.#unreadable.get(uuid);
    if (unreadable) {
      const text = `nobody knows which images domain '${name}' uses while it runs: ${unreadable.detail}`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
    const run = this.#runs.get(uuid);
    return run?.id === id ? run.disks : new Map();
  }

  async #record({ uuid, id }: DomainRef, disks: ReadonlyMap<string, LiveDisk>): Promise<void> {
    if (disks.size === 0) {
      await this.forget(uuid);
      return;
    }
    const run = { boot: this.#bootId, id, disks };
    this.#runs.set(uuid, run);
    await this.#records.write(uuid, { ...run, disks: Object.fromEntries(disks) });
  }
}

function identityOf({ path, bus }: Pick<DomainDisk, 'path' | 'bus'>): LiveDisk['shown'] {
  return { bus, ...(path !== undefined && { path }) };
}

/** True if libvirtd still shows the disk that the record was made for: it may have been detached, and another attached. */
function isShown(target: string, { shown: { path, bus } }: LiveDisk, shown: Shown): boolean {
  return shown.some((disk) => disk.target === target && disk.path === path && disk.bus === bus);
}

// biome-ignore lint/suspicious/noExplicitAny: everything in it is checked.
function readRun({ boot, id, disks }: any): Run | undefined {
  const images = Object.entries<LiveDisk>(disks ?? {});
  const isRun = typeof boot === 'string' && Number.isInteger(id) && disks;
  const areImages = images.every(([, { path, format, shown }]) => typeof path === 'string' && format && shown);
  return isRun && areImages ? { boot, id, disks: new Map(images) } : undefined;
}
