/** What is under way, on the disk: `<state dir>/journal/<uuid>.json`, one record per domain. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { Journal, JournalEntry, PendingOperation } from '../snapshots/ports.ts';
import { isMissing, makeFolder, removeFile, writeFileAtomically } from './atomic-file.ts';
import { pathSegment } from './path-segment.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';

export class FileJournal implements Journal {
  readonly #dir: string;

  constructor(stateDir: string) {
    this.#dir = join(stateDir, 'journal');
  }

  async begin(domain: DomainRef, operation: string, snapshot: string): Promise<JournalEntry> {
    const path = this.#path(domain);
    const record = async (phase: string): Promise<void> => {
      const pending: PendingOperation = { domain, operation, snapshot, phase };
      await writeFileAtomically(path, `${JSON.stringify(pending)}\n`);
    };
    await makeFolder(this.#dir, FOLDER_MODE);
    await record('begun');
    return { phase: record, end: () => this.end(domain) };
  }

  /** The operations that a crash interrupted. A record that cannot be understood is refused: it hides one of them. */
  async pending(): Promise<readonly PendingOperation[]> {
    const names = await readdir(this.#dir).catch((error) => {
      if (isMissing(error)) return [];
      throw systemError(error, `cannot read folder '${this.#dir}'`);
    });
    const records = names.filter((name) => name.endsWith(SUFFIX)).sort();
    return await Promise.all(records.map((name) => readRecord(join(this.#dir, name))));
  }

  end(domain: DomainRef): Promise<void> {
    return removeFile(this.#path(domain));
  }

  #path({ uuid }: DomainRef): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

async function readRecord(path: string): Promise<PendingOperation> {
  const text = await readFile(path, 'utf8').catch((error) => {
    throw systemError(error, `cannot read file '${path}'`);
  });
  const record = parseRecord(text);
  if (record) return record;
  throw new LibvirtError(
    'INTERNAL_ERROR',
    `'${path}' is no record of an operation: see what snapshots its domain has, then remove the file`,
  );
}

function parseRecord(text: string): PendingOperation | undefined {
  try {
    const { domain, operation, snapshot, phase } = JSON.parse(text);
    const texts = [domain.name, domain.uuid, operation, snapshot, phase];
    if (texts.some((value) => typeof value !== 'string') || typeof domain.id !== 'number') return undefined;
    return { domain, operation, snapshot, phase };
  } catch {
    return undefined;
  }
}
