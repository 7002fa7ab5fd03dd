/** Records of operations under way: `<state dir>/journal/<uuid>.json`, one per domain. */

import { join } from 'node:path';
import { asLibvirtError, explained, LibvirtError } from '../../errors.ts';
import type { MechanismName } from '../../model/daemon-status.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { isPhase } from '../../model/phases.ts';
import type { Task } from '../../snapshots/ports/jobs.ts';
import type { Journal, JournalEntry, PendingOperation, UnreadableRecord } from '../../snapshots/ports/journal.ts';
import { STATE_FOLDERS } from '../default-folders.ts';
import { RecordFolder, withUnreadable } from './record-folder.ts';

/** The journal in files. */
export class FileJournal implements Journal {
  readonly #records: RecordFolder<PendingOperation>;
  readonly #log: (text: string) => void;
  readonly #mechanism: MechanismName | undefined;
  /** UUIDs of domains whose last operation has ended, and whose record could not be removed. */
  readonly #ended = new Set<string>();

  /** `mechanism`: of the daemon that writes records; a program that only reads them has none. */
  constructor(stateDir: string, log: (text: string) => void, mechanism?: MechanismName) {
    const dir = join(stateDir, STATE_FOLDERS.journal);
    const uuidOf = ({ domain }: PendingOperation): string => domain.uuid;
    this.#records = new RecordFolder({ dir, what: 'a record of an operation', read: parseRecord, uuidOf });
    this.#log = log;
    this.#mechanism = mechanism;
  }

  async begin(domain: DomainRef, task: Task): Promise<JournalEntry> {
    const by = this.#mechanism && { mechanism: this.#mechanism };
    let pending: PendingOperation = { domain, ...task, phase: 'begun', ...by };
    const record = async (change: Partial<PendingOperation>): Promise<void> => {
      pending = { ...pending, ...change };
      await this.#records.write(domain.uuid, pending);
    };
    await this.#refuseUnfinished(domain, task);
    await record({});
    const end = (): Promise<void> => this.end(domain).catch((error) => this.#log(asLibvirtError(error).message));
    return {
      phase: (phase) => record({ phase }),
      plan: (args, abandoned = []) => record({ args, abandoned }),
      definition: (definition) => record({ definition }),
      end,
    };
  }

  /** Ignores a record that was cut off while it was written: its operation had not begun. */
  async pending(): Promise<readonly (PendingOperation | UnreadableRecord)[]> {
    await this.#records.removeUnfinished();
    return await this.records();
  }

  /** Returns what `pending` returns, without changing anything: for programs that read while the daemon runs. */
  async records(): Promise<readonly (PendingOperation | UnreadableRecord)[]> {
    return withUnreadable(await this.#records.all());
  }

  async end(domain: DomainRef): Promise<void> {
    this.#ended.add(domain.uuid);
    await this.#records.remove(domain.uuid);
    this.#ended.delete(domain.uuid);
  }

  /** What such a record would undo or finish must not be forgotten, and nothing be built on what it has left. */
  async #refuseUnfinished({ name, uuid }: DomainRef, { operation, snapshot }: Task): Promise<void> {
    if (this.#ended.has(uuid)) return;
    const found = await this.#records.read(uuid).catch((error) => {
      throw explained(error, `until then the snapshots of domain '${name}' are not changed`);
    });
    if (!found) return;
    const again = found.operation === operation && found.snapshot === snapshot;
    if (again && (operation === 'revert' || operation === 'delete')) return;
    throw new LibvirtError(
      'OPERATION_INVALID',
      `${found.operation} of snapshot '${found.snapshot}' of domain '${name}' was interrupted in phase '${found.phase}' and ` +
        `could not be recovered: 'systemctl restart xlsnapd' tries again, and 'journalctl -u xlsnapd' says what is in its way`,
    );
  }
}

const MECHANISMS: readonly unknown[] = ['libxl', 'libvirt', 'embedded'] satisfies readonly MechanismName[];

// biome-ignore lint/suspicious/noExplicitAny: everything in it is checked; what is not there throws.
function parseRecord(fields: any): PendingOperation | undefined {
  const { domain, operation, snapshot, flags, phase, mechanism, args, abandoned = [], definition } = fields;
  const texts = [domain.name, domain.uuid, operation, snapshot, phase];
  if (texts.some((value) => typeof value !== 'string') || !isPhase(operation, phase)) return undefined;
  if (![domain.id, flags].every(Number.isInteger)) return undefined;
  if (mechanism !== undefined && !MECHANISMS.includes(mechanism)) return undefined;
  if (args !== undefined && !areArgs(args)) return undefined;
  if (!abandoned.every(({ path }: DiskImage) => typeof path === 'string')) return undefined;
  if (definition !== undefined && typeof definition !== 'string') return undefined;
  const { name, uuid, id } = domain;
  return {
    ...{ domain: { name, uuid, id }, operation, snapshot, flags, phase },
    ...(mechanism && { mechanism }),
    ...(args && { args, abandoned }),
    ...(definition !== undefined && { definition }),
  };
}

/** Undoing an operation uses these paths: a damaged record must not make us touch others' files. */
function areArgs(args: unknown): args is LibxlDomainSnapshotArgs {
  const { memory_path, disks = [] } = args as LibxlDomainSnapshotArgs;
  const texts = [memory_path, ...disks.flatMap(({ disk, external_path }) => [disk.pdev_path, external_path])];
  return texts.every((text) => text === undefined || typeof text === 'string') && disks.every(({ disk }) => disk.vdev);
}
