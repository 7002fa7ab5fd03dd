/**
 * Snapshots that must not be deleted: `<state dir>/protected/<uuid>.json`. A record is about names, so it stays if the domain
 * is renamed, or a snapshot is defined again.
 */

import { join } from 'node:path';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { ProtectedNames } from '../snapshots/ports/store.ts';
import { makeOwnFolder, removeFile, writeFileAtomically } from './atomic-file.ts';
import { STATE_FOLDERS } from './default-folders.ts';
import { pathSegment } from './path-segment.ts';
import { encodeRecord, listRecords, readRecord } from './record.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';

/** ProtectedNames in files. */
export class ProtectedFiles implements ProtectedNames {
  readonly #dir: string;
  /** By UUID: the names, or why their record cannot be read. */
  readonly #records = new Map<string, ReadonlySet<string> | LibvirtError>();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Reads all records. Reports one that cannot be read to `log`; it stays, and fails closed. Rejects if the folder cannot be
   * read.
   */
  static async open(stateDir: string, log: (text: string) => void): Promise<ProtectedFiles> {
    const dir = join(stateDir, STATE_FOLDERS.protected);
    const files = new ProtectedFiles(dir);
    for (const name of await listRecords(dir)) {
      if (!name.endsWith(SUFFIX)) continue;
      const record = await readRecord(join(dir, name), 'a record of protected snapshots', readNames).catch(
        asLibvirtError,
      );
      if (record instanceof LibvirtError) log(record.detail);
      if (record) files.#records.set(name.slice(0, -SUFFIX.length), record);
    }
    return files;
  }

  of({ name, uuid }: DomainRef): ReadonlySet<string> {
    const record = this.#records.get(uuid) ?? new Set();
    if (!(record instanceof LibvirtError)) return record;
    const text = `nobody knows which snapshots of domain '${name}' are protected: ${record.detail}`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }

  async set({ uuid }: DomainRef, names: ReadonlySet<string>): Promise<void> {
    const path = join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
    if (names.size === 0) {
      await removeFile(path);
      this.#records.delete(uuid);
      return;
    }
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    await writeFileAtomically(path, encodeRecord({ names: [...names] }));
    this.#records.set(uuid, names);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: everything in it is checked.
function readNames({ names }: any): ReadonlySet<string> | undefined {
  const areNames = Array.isArray(names) && names.every((name) => typeof name === 'string');
  return areNames ? new Set(names) : undefined;
}
