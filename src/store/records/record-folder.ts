/** Folders of records, one for each domain: `<dir>/<uuid>.json`. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, LibvirtError, systemError } from '../../errors.ts';
import type { UnreadableRecord } from '../../snapshots/ports/journal.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, UNFINISHED, writeFileAtomically } from '../atomic-file.ts';
import { pathSegment } from '../path-segment.ts';
import { encodeRecord, readRecord } from './record.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';

interface RecordFolderOptions<T> {
  readonly dir: string;
  /** `a record of an operation`. */
  readonly what: string;
  /** Returns the record, or undefined if the fields are not one; may throw. What it does not check is believed. */
  // biome-ignore lint/suspicious/noExplicitAny: it is to check what a file holds.
  readonly read: (fields: any) => T | undefined;
  /** The UUID of the domain that a record names, if it names one: it must be the one in the file's name. */
  readonly uuidOf?: (record: T) => string;
}

/** The records in one folder. One that cannot be read stays as it is until somebody has looked at it. */
export class RecordFolder<T> {
  readonly #options: RecordFolderOptions<T>;

  constructor(options: RecordFolderOptions<T>) {
    this.#options = options;
  }

  /**
   * Returns all records, or why one cannot be read, by UUID; none if there is no folder. Rejects if the folder cannot be read:
   * nobody knows then what it holds.
   */
  async all(): Promise<ReadonlyMap<string, T | LibvirtError>> {
    const names = (await this.#names()).filter((name) => name.endsWith(SUFFIX)).sort();
    const found = new Map<string, T | LibvirtError>();
    for (const uuid of names.map((name) => name.slice(0, -SUFFIX.length))) {
      const record = await this.read(uuid).catch(asLibvirtError);
      if (record !== undefined) found.set(uuid, record);
    }
    return found;
  }

  /** Returns undefined if there is none. Rejects, with the way out, if it cannot be read. */
  async read(uuid: string): Promise<T | undefined> {
    const { dir, what, read, uuidOf } = this.#options;
    const path = this.path(uuid);
    await refuseLink(dir);
    const record = await readRecord(path, what, read);
    if (record === undefined || !uuidOf || uuidOf(record) === uuid) return record;
    throw new LibvirtError(
      'INTERNAL_ERROR',
      `'${path}' is ${what} of another domain, ${uuidOf(record)}: move it away and restart xlsnapd`,
    );
  }

  /** Replaces what is there: ask `read` first, if nobody else has. */
  async write(uuid: string, fields: object): Promise<void> {
    const path = this.path(uuid);
    await makeOwnFolder(this.#options.dir, FOLDER_MODE);
    await writeFileAtomically(path, encodeRecord(fields));
  }

  /** Accepts that there is none. */
  remove(uuid: string): Promise<void> {
    return removeFile(this.path(uuid));
  }

  /** Removes what was cut off while it was written: what it was to record had not begun. */
  async removeUnfinished(): Promise<void> {
    for (const name of await this.#names())
      if (name.endsWith(UNFINISHED)) await removeFile(join(this.#options.dir, name));
  }

  /** The record's file. */
  path(uuid: string): string {
    return join(this.#options.dir, pathSegment(`${uuid}${SUFFIX}`));
  }

  async #names(): Promise<readonly string[]> {
    const { dir } = this.#options;
    await refuseLink(dir);
    return await readdir(dir).catch((error) => {
      if (isMissing(error)) return [];
      throw systemError(error, `cannot read folder '${dir}'`);
    });
  }
}

/** The records, and those that cannot be read as the ports have them. */
export function withUnreadable<T>(records: ReadonlyMap<string, T | LibvirtError>): readonly (T | UnreadableRecord)[] {
  return [...records].map(([uuid, record]) => (record instanceof LibvirtError ? { uuid, error: record } : record));
}
