/** Saves under way of domains on overlays: `<state dir>/saves/<uuid>.json`. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { explained } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { UnreadableRecord } from '../../snapshots/ports/journal.ts';
import type { PlannedSave, RecordedSave, SaveRecords } from '../../snapshots/ports/saves.ts';
import { STATE_FOLDERS } from '../default-folders.ts';
import { isDiskImage, isDomainRef } from './record.ts';
import { RecordFolder, withUnreadable } from './record-folder.ts';

/** A random UUID for each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** SaveRecords in files. */
export class SaveFiles implements SaveRecords {
  readonly #records: RecordFolder<PlannedSave & { readonly boot: string }>;
  readonly #log: (text: string) => void;

  constructor(stateDir: string, log: (text: string) => void) {
    const dir = join(stateDir, STATE_FOLDERS.saves);
    this.#records = new RecordFolder({ dir, what: 'a record of a save', read, uuidOf: ({ domain }) => domain.uuid });
    this.#log = log;
  }

  async load(): Promise<readonly RecordedSave[]> {
    const saves: RecordedSave[] = [];
    for (const record of await this.records()) {
      if ('error' in record) this.#log(record.error.detail);
      else saves.push(record);
    }
    return saves;
  }

  /** Returns all records, also those that cannot be read: for programs that read while the daemon runs. */
  async records(): Promise<readonly (RecordedSave | UnreadableRecord)[]> {
    const now = await bootId();
    return withUnreadable(await this.#records.all()).map((record) => {
      if ('error' in record) return record;
      const { boot, ...save } = record;
      return { ...save, sameBoot: boot === now };
    });
  }

  async write(save: PlannedSave): Promise<void> {
    const { name, uuid } = save.domain;
    await this.#records.read(uuid).catch((error) => {
      throw explained(error, `until then domain '${name}' is not saved`);
    });
    await this.#records.write(uuid, { ...save, boot: await bootId() });
  }

  remove({ uuid }: DomainRef): Promise<void> {
    return this.#records.remove(uuid);
  }
}

async function bootId(): Promise<string> {
  return (await readFile(BOOT_ID, 'utf8')).trim();
}

/** Finishing a save writes to its path and removes it: a damaged record must not make us touch others' files. */
// biome-ignore lint/suspicious/noExplicitAny: everything that is used is checked; what is not there throws.
function read({ domain, path, managed, moves, boot }: any): (PlannedSave & { readonly boot: string }) | undefined {
  const { name, uuid, id } = domain;
  const isPath = typeof path === 'string' && path.startsWith('/') && typeof managed === 'boolean';
  if (!isDomainRef(domain) || !isPath || !moves.every(isMove) || typeof boot !== 'string') return undefined;
  return { domain: { name, uuid, id }, path, managed, moves, boot };
}

// biome-ignore lint/suspicious/noExplicitAny: see read.
function isMove({ disk, from, to }: any): boolean {
  return typeof disk === 'string' && isDiskImage(from) && isDiskImage(to);
}
