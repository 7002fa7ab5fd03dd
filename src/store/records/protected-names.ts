/**
 * Snapshots that must not be deleted: `<state dir>/protected/<uuid>.json`. A record is about names, so it stays if the domain
 * is renamed, or a snapshot is defined again.
 */

import { join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { ProtectedNames } from '../../snapshots/ports/store.ts';
import { STATE_FOLDERS } from '../default-folders.ts';
import { RecordFolder } from './record-folder.ts';

/** ProtectedNames in files. */
export class ProtectedFiles implements ProtectedNames {
  readonly #files: RecordFolder<ReadonlySet<string>>;
  /** By UUID: the names, or why their record cannot be read. */
  readonly #records: Map<string, ReadonlySet<string> | LibvirtError>;

  private constructor(
    files: RecordFolder<ReadonlySet<string>>,
    records: Map<string, ReadonlySet<string> | LibvirtError>,
  ) {
    this.#files = files;
    this.#records = records;
  }

  /**
   * Reads all records. Reports one that cannot be read to `log`; it stays, and fails closed. Rejects if the folder cannot be
   * read.
   */
  static async open(stateDir: string, log: (text: string) => void): Promise<ProtectedFiles> {
    const dir = join(stateDir, STATE_FOLDERS.protected);
    const files = new RecordFolder({ dir, what: 'a record of protected snapshots', read: readNames });
    const records = await files.all();
    for (const record of records.values()) if (record instanceof LibvirtError) log(record.detail);
    return new ProtectedFiles(files, new Map(records));
  }

  of({ name, uuid }: DomainRef): ReadonlySet<string> {
    const record = this.#records.get(uuid) ?? new Set();
    if (!(record instanceof LibvirtError)) return record;
    const text = `nobody knows which snapshots of domain '${name}' are protected: ${record.detail}`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }

  async set({ uuid }: DomainRef, names: ReadonlySet<string>): Promise<void> {
    if (names.size === 0) {
      await this.#files.remove(uuid);
      this.#records.delete(uuid);
      return;
    }
    await this.#files.write(uuid, { names: [...names] });
    this.#records.set(uuid, names);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: everything in it is checked.
function readNames({ names }: any): ReadonlySet<string> | undefined {
  const areNames = Array.isArray(names) && names.every((name) => typeof name === 'string');
  return areNames ? new Set(names) : undefined;
}
