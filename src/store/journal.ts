/** Records of operations under way: `<state dir>/journal/<uuid>.json`, one per domain. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, LibvirtError, systemError } from '../errors.ts';
import type { DiskImage } from '../model/disk-image.ts';
import type { DomainRef } from '../model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import { isPhase } from '../model/phases.ts';
import type { Journal, JournalEntry, PendingOperation, Task } from '../snapshots/ports.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, UNFINISHED, writeFileAtomically } from './atomic-file.ts';
import { readOwnFile } from './own-file.ts';
import { pathSegment } from './path-segment.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';
/** Room for the names of some hundred disks and their images. */
const MAX_RECORD_BYTES = 1024 * 1024;

/** The journal in files. */
export class FileJournal implements Journal {
  readonly #dir: string;
  readonly #log: (text: string) => void;

  constructor(stateDir: string, log: (text: string) => void) {
    this.#dir = join(stateDir, 'journal');
    this.#log = log;
  }

  async begin(domain: DomainRef, task: Task): Promise<JournalEntry> {
    const path = this.#path(domain);
    let pending: PendingOperation = { domain, ...task, phase: 'begun' };
    const record = async (change: Partial<PendingOperation>): Promise<void> => {
      pending = { ...pending, ...change };
      await writeFileAtomically(path, `${JSON.stringify(pending)}\n`);
    };
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    await record({});
    const end = (): Promise<void> => this.end(domain).catch((error) => this.#log(asLibvirtError(error).message));
    return {
      phase: (phase) => record({ phase }),
      plan: (args, abandoned = []) => record({ args, abandoned }),
      end,
    };
  }

  /** Ignores a record that was cut off while it was written: its operation had not begun. */
  async pending(): Promise<readonly (PendingOperation | LibvirtError)[]> {
    for (const name of await this.#list()) if (name.endsWith(UNFINISHED)) await removeFile(join(this.#dir, name));
    return await this.records();
  }

  /** Returns what `pending` returns, without changing anything: for programs that read while the daemon runs. */
  async records(): Promise<readonly (PendingOperation | LibvirtError)[]> {
    const names = (await this.#list()).filter((name) => name.endsWith(SUFFIX)).sort();
    const records = names.map((name) => readRecord(this.#dir, name).catch(asLibvirtError));
    return (await Promise.all(records)).filter((record) => record !== undefined);
  }

  end(domain: DomainRef): Promise<void> {
    return removeFile(this.#path(domain));
  }

  async #list(): Promise<readonly string[]> {
    await refuseLink(this.#dir);
    return await readdir(this.#dir).catch((error) => {
      if (isMissing(error)) return [];
      throw systemError(error, `cannot read folder '${this.#dir}'`);
    });
  }

  #path({ uuid }: DomainRef): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

/** Returns undefined if the operation has ended by now. */
async function readRecord(folder: string, name: string): Promise<PendingOperation | undefined> {
  const path = join(folder, name);
  const text = await readOwnFile(path, MAX_RECORD_BYTES).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot read file '${path}'`);
  });
  if (text === undefined) return undefined;
  const record = parseRecord(text);
  if (record && name === `${record.domain.uuid}${SUFFIX}`) return record;
  throw new LibvirtError(
    'INTERNAL_ERROR',
    `'${path}' is not a record of an operation: see what snapshots its domain has, then remove the file`,
  );
}

function parseRecord(text: string): PendingOperation | undefined {
  try {
    const { domain, operation, snapshot, flags, phase, args, abandoned = [] } = JSON.parse(text);
    const texts = [domain.name, domain.uuid, operation, snapshot, phase];
    if (texts.some((value) => typeof value !== 'string') || !isPhase(operation, phase)) return undefined;
    if (![domain.id, flags].every(Number.isInteger)) return undefined;
    if (args !== undefined && !areArgs(args)) return undefined;
    if (!abandoned.every(({ path }: DiskImage) => typeof path === 'string')) return undefined;
    const { name, uuid, id } = domain;
    return { domain: { name, uuid, id }, operation, snapshot, flags, phase, ...(args && { args, abandoned }) };
  } catch {
    return undefined;
  }
}

/** Undoing an operation uses these paths: a damaged record must not make us touch others' files. */
function areArgs(args: unknown): args is LibxlDomainSnapshotArgs {
  const { memory_path, disks = [] } = args as LibxlDomainSnapshotArgs;
  const texts = [memory_path, ...disks.flatMap(({ disk, external_path }) => [disk.pdev_path, external_path])];
  return texts.every((text) => text === undefined || typeof text === 'string') && disks.every(({ disk }) => disk.vdev);
}
