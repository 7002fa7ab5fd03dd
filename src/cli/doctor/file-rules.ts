/**
 * Finds leftovers and their owners. Only what is certainly ours and unused may be removed: unfinished files and empty
 * folders. Everything else is reported with what its owner can do.
 */

import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import type { Operation } from '../../model/phases.ts';
import type { FileJournal } from '../../store/records/journal.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import type { Finding } from '../storage/finding.ts';
import { formatBytes } from '../terminal/quantities.ts';
import type { StoredItem } from './folder-contents.ts';

/** A record of the journal, readable or not. */
export type JournalRecord = Awaited<ReturnType<FileJournal['records']>>[number];

interface Removal {
  readonly path: string;
  readonly what: 'file' | 'empty folder';
  /** UUID of the owning domain: nothing is removed of a domain that has a record in the journal. */
  readonly uuid: string | undefined;
  /** Set for the memory of a guest, though nobody can use it any more: `--fix` alone keeps it. */
  readonly isOrphan?: true;
}

/** A snapshot whose metadata is gone: its memory with the disks that belong to it, or only snapshot volumes of its disks. */
export type Orphan = { readonly uuid: string; readonly snapshot: string } & (
  | { readonly memoryPath: string; readonly disks?: undefined }
  | { readonly disks: readonly LibxlDeviceDisk[]; readonly memoryPath?: undefined }
);

/** A finding of the doctor. */
export interface DoctorFinding extends Finding {
  /** `note`: worth knowing, but not a problem. */
  readonly level: 'problem' | 'note';
  readonly removal?: Removal;
  readonly orphan?: Orphan;
  /** What the file takes on its file system. */
  readonly bytes?: number;
}

/** The facts that the rules decide by. */
export interface Known {
  readonly domains: readonly DomainFacts[];
  readonly records: readonly JournalRecord[];
  /** Memory images whose disk images hold other contents now, by path. */
  readonly broken: ReadonlySet<string>;
  /** UUIDs of domains with an operation under way. */
  readonly working: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A file changed more recently than this may still be in use. */
const RECENT_MS = 60_000;

const FIX = 'xlsnap doctor --fix removes it';
const LATER = 'it was changed less than a minute ago: look again later';

const OPERATION_FIRST = 'first finish the operation that the journal has for this domain';

const DOING: Readonly<Record<Operation, string>> = {
  create: 'taking',
  revert: 'reverting to',
  delete: 'deleting',
  redefine: 'redefining',
};

/** Reports every operation that has not ended, and how to finish it. */
export function journalFindings({ records, working }: Pick<Known, 'records' | 'working'>): readonly DoctorFinding[] {
  return records.map((record): DoctorFinding => {
    if ('error' in record) {
      return {
        level: 'problem',
        problem: record.error.detail,
        wayOut: 'see the message; xlsnapd does not touch such a file',
      };
    }
    const { domain, operation, snapshot, flags, phase } = record;
    const what = `${DOING[operation]} snapshot '${snapshot}' of domain '${domain.name}'`;
    if (working.has(domain.uuid)) {
      return { level: 'note', problem: `${what} is under way, in phase '${phase}'`, wayOut: 'none needed' };
    }
    const wayOut =
      operation === 'revert' || operation === 'delete'
        ? virshCommand(operation, { domain, snapshot, flags })
        : 'systemctl restart xlsnapd: it recovers what it can, and its log says why if it cannot';
    return { level: 'problem', problem: `${what} was interrupted in phase '${phase}' and is not recovered`, wayOut };
  });
}

/**
 * Checks the folder of memory images: `<uuid>/<snapshot>.save`, and `<uuid>.save` while a domain is saved to work on
 * its disks.
 */
export function memoryFindings(items: readonly StoredItem[], known: Known): readonly DoctorFinding[] {
  return items.flatMap((item) => {
    if (item.inside) return imagesFindings(item, item.inside, known);
    const uuid = stem(item.name, '.save');
    return uuid === undefined ? [foreign(item)] : scratchFindings(item, uuid, known);
  });
}

function imagesFindings(folder: StoredItem, files: readonly StoredItem[], known: Known): readonly DoctorFinding[] {
  const uuid = folder.name;
  if (files.length === 0) return [removable(folder, uuid, `folder '${folder.path}' is empty`, known)];
  const domain = known.domains.find((each) => each.domain.uuid === uuid);
  const used = new Set(domain?.snapshots.flatMap(({ memory }) => memory?.path ?? []));
  return files.flatMap((file) => {
    if (used.has(file.path)) return [];
    if (file.name.endsWith('.save.partial')) {
      return [removable(file, uuid, `memory image '${file.path}' is unfinished`, known)];
    }
    const snapshot = stem(file.name, '.save');
    if (file.inside || snapshot === undefined) return [foreign(file)];
    // The record of the operation is reported instead.
    if (hasRecord(known, uuid)) return [];
    if (known.broken.has(file.path)) return [brokenTie(file, snapshot, uuid)];
    return [domain ? orphan(file, domain, snapshot) : ofGoneDomain(file)];
  });
}

function brokenTie({ path, bytes }: StoredItem, snapshot: string, uuid: string): DoctorFinding {
  return {
    level: 'problem',
    problem: `memory image '${path}' belongs to snapshot '${snapshot}', which has no metadata and whose disk images hold other contents now (${formatBytes(bytes)})`,
    wayOut: 'xlsnap doctor --fix --orphans removes it, and so does the next snapshot of the domain with that UUID',
    removal: { path, what: 'file', uuid, isOrphan: true },
    bytes,
  };
}

function orphan({ path, bytes }: StoredItem, { domain }: DomainFacts, snapshot: string): DoctorFinding {
  return {
    level: 'problem',
    problem: `memory image '${path}' belongs to snapshot '${snapshot}' of domain '${domain.name}', which has no metadata (${formatBytes(bytes)})`,
    wayOut:
      'define the snapshot again (virsh snapshot-create --redefine, xlsnap import); or xlsnap doctor --fix --orphans ' +
      'deletes it, memory and disks',
    orphan: { uuid: domain.uuid, snapshot, memoryPath: path },
    bytes,
  };
}

function ofGoneDomain({ path, bytes }: StoredItem): DoctorFinding {
  return {
    level: 'problem',
    problem: `memory image '${path}' belongs to a domain that does not exist (${formatBytes(bytes)})`,
    wayOut: `remove it if nobody needs it; to bring the domain back: ${shellCommand('virsh', 'restore', path)}`,
    bytes,
  };
}

/**
 * Checks a domain's memory from work on its disks: out of date if the domain is active, perhaps the only copy if it is
 * off.
 */
function scratchFindings(item: StoredItem, uuid: string, known: Known): readonly DoctorFinding[] {
  const domain = known.domains.find((each) => each.domain.uuid === uuid);
  if (hasRecord(known, uuid)) return [];
  if (!domain) return [ofGoneDomain(item)];
  const { name, id } = domain.domain;
  if (id >= 0) {
    return [
      removable(item, uuid, `'${item.path}' is the memory of domain '${name}', which has been started since`, known),
    ];
  }
  const problem = `'${item.path}' is the memory of domain '${name}', which was saved to work on its disks and is off`;
  const wayOut = `remove the file if the domain has been started since; else: ${shellCommand('virsh', 'restore', item.path)}`;
  return [{ level: 'problem', problem, wayOut }];
}

/** Checks libvirt's folder of metadata: `<domain>/<snapshot>.xml`. `isDocument`: true if a file can be read as a snapshot. */
export function metadataFindings(
  items: readonly StoredItem[],
  known: Known,
  isDocument: (path: string) => boolean,
): readonly DoctorFinding[] {
  return items.flatMap((folder) => {
    if (!folder.inside) return [foreign(folder)];
    const domain = known.domains.find((each) => each.domain.name === folder.name)?.domain;
    if (folder.inside.length === 0) return [removable(folder, domain?.uuid, `folder '${folder.path}' is empty`, known)];
    if (!domain) {
      const problem = `folder '${folder.path}' holds metadata of domain '${folder.name}', which does not exist`;
      const wayOut = 'define the domain again, with the UUID in the files; or remove the folder if nobody needs it';
      return [{ level: 'problem', problem, wayOut } as const];
    }
    const names = new Set(folder.inside.map(({ name }) => name));
    return folder.inside.flatMap((file) => {
      const target = stem(file.name, '.new');
      if (target === undefined || (!names.has(target) && isDocument(file.path))) return [];
      return [removable(file, domain.uuid, `metadata file '${file.path}' is unfinished`, known)];
    });
  });
}

function removable(item: StoredItem, uuid: string | undefined, problem: string, known: Known): DoctorFinding {
  if (hasRecord(known, uuid)) return { level: 'note', problem, wayOut: OPERATION_FIRST };
  if (known.now - item.changed < RECENT_MS) return { level: 'note', problem, wayOut: LATER };
  const what = item.inside ? 'empty folder' : 'file';
  return { level: 'problem', problem, wayOut: FIX, removal: { path: item.path, what, uuid } };
}

/** True if the journal has a record of this domain. */
export function hasRecord({ records }: Pick<Known, 'records'>, uuid: string | undefined): boolean {
  return records.some((record) => ('error' in record ? record.uuid : record.domain.uuid) === uuid);
}

function foreign({ path }: StoredItem): DoctorFinding {
  const wayOut = 'xlsnapd does not know it and does not touch it; remove it if nobody needs it';
  return { level: 'note', problem: `'${path}' is not a file of xlsnapd`, wayOut };
}

function stem(name: string, suffix: string): string | undefined {
  return name.endsWith(suffix) && name.length > suffix.length ? name.slice(0, -suffix.length) : undefined;
}
