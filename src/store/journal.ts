/** What is under way, on the disk: `<state dir>/journal/<uuid>.json`, one record per domain. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../model/libxl.ts';
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
    let pending: PendingOperation = { domain, operation, snapshot, phase: 'begun' };
    const record = async (change: Partial<PendingOperation>): Promise<void> => {
      pending = { ...pending, ...change };
      await writeFileAtomically(path, `${JSON.stringify(pending)}\n`);
    };
    await makeFolder(this.#dir, FOLDER_MODE);
    await record({});
    return { phase: (phase) => record({ phase }), plan: (args) => record({ args }), end: () => this.end(domain) };
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
    const { domain, operation, snapshot, phase, args } = JSON.parse(text);
    const texts = [domain.name, domain.uuid, operation, snapshot, phase];
    if (texts.some((value) => typeof value !== 'string') || typeof domain.id !== 'number') return undefined;
    if (args !== undefined && !areArgs(args)) return undefined;
    return { domain, operation, snapshot, phase, ...(args && { args }) };
  } catch {
    return undefined;
  }
}

/** Everything that is taken back by these is named by text: a record that was damaged must not make us touch others' files. */
function areArgs(args: unknown): args is LibxlDomainSnapshotArgs {
  const { memory_path, disks = [] } = args as LibxlDomainSnapshotArgs;
  const texts = [memory_path, ...disks.flatMap(({ disk, external_path }) => [disk.pdev_path, external_path])];
  return texts.every((text) => text === undefined || typeof text === 'string') && disks.every(({ disk }) => disk.vdev);
}
