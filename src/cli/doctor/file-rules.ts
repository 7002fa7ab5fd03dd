/**
 * What is left over, and whose it is. Removable is only what is certainly ours and certainly unused: files that were never
 * finished, folders with nothing in them. Everything else is reported, with what its owner can do.
 */

import { LibvirtError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import type { Operation } from '../../model/phases.ts';
import { virshCommand } from '../../model/virsh-command.ts';
import type { FileJournal } from '../../store/journal.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import type { Finding } from '../storage/finding.ts';
import type { StoredItem } from './folder-contents.ts';

export type JournalRecord = Awaited<ReturnType<FileJournal['records']>>[number];

interface Removal {
  readonly path: string;
  readonly what: 'file' | 'empty folder';
  /** Whose it is: nothing is removed of a domain that has a record in the journal. */
  readonly uuid: string | undefined;
}

/** What is left of a snapshot whose metadata is gone: its RAM and what belongs to that, or snapshot volumes of its disks. */
export type Orphan = { readonly uuid: string; readonly snapshot: string } & (
  | { readonly memoryPath: string; readonly disks?: undefined }
  | { readonly disks: readonly LibxlDeviceDisk[]; readonly memoryPath?: undefined }
);

export interface DoctorFinding extends Finding {
  /** `note`: worth knowing, and nothing wrong. */
  readonly level: 'problem' | 'note';
  readonly removal?: Removal;
  readonly orphan?: Orphan;
}

/** All that is judged by. */
export interface Known {
  readonly domains: readonly DomainFacts[];
  readonly records: readonly JournalRecord[];
  /** UUIDs of domains with an operation under way. */
  readonly working: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What was written to so lately may be in somebody's hands yet. */
const RECENT_MS = 60_000;

const FIX = 'xlsnap doctor --fix removes it';
const LATER = 'it was written to less than a minute ago: look again later';

const OPERATION_FIRST = 'first the operation that the journal has of this domain';

const DOING: Readonly<Record<Operation, string>> = {
  create: 'taking',
  revert: 'reverting to',
  delete: 'deleting',
  redefine: 'redefining',
};

/** Every operation that has not ended, and how it is ended. */
export function journalFindings({ records, working }: Pick<Known, 'records' | 'working'>): readonly DoctorFinding[] {
  return records.map((record): DoctorFinding => {
    if (record instanceof LibvirtError) {
      return { level: 'problem', problem: record.detail, wayOut: 'as it says; xlsnapd leaves such a file alone' };
    }
    const { domain, operation, snapshot, flags, phase } = record;
    const what = `${DOING[operation]} snapshot '${snapshot}' of domain '${domain.name}'`;
    if (working.has(domain.uuid)) {
      return { level: 'note', problem: `${what} is under way, in phase '${phase}'`, wayOut: 'none is needed' };
    }
    const wayOut =
      operation === 'revert' || operation === 'delete'
        ? virshCommand(operation, { domain: domain.name, snapshot, flags })
        : "systemctl restart xlsnapd: it takes up what it has left, and says in its log why where it can't";
    return { level: 'problem', problem: `${what} was interrupted in phase '${phase}' and is not mended`, wayOut };
  });
}

/** The folder of memory images: `<uuid>/<snapshot>.save`, and `<uuid>.save` while a domain is away. */
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
      return [removable(file, uuid, `memory image '${file.path}' was never finished`, known)];
    }
    const snapshot = stem(file.name, '.save');
    if (file.inside || snapshot === undefined) return [foreign(file)];
    // Of an operation that has a record, the record speaks.
    if (hasRecord(known, uuid)) return [];
    return [domain ? orphan(file, domain, snapshot) : ofGoneDomain(file)];
  });
}

function orphan({ path }: StoredItem, { domain }: DomainFacts, snapshot: string): DoctorFinding {
  return {
    level: 'problem',
    problem: `memory image '${path}' is of a snapshot '${snapshot}' of domain '${domain.name}' that has no metadata`,
    wayOut:
      'define the snapshot again (virsh snapshot-create --redefine, xlsnap import); or xlsnap doctor --fix --orphans ' +
      'deletes it, memory and disks',
    orphan: { uuid: domain.uuid, snapshot, memoryPath: path },
  };
}

function ofGoneDomain({ path }: StoredItem): DoctorFinding {
  return {
    level: 'problem',
    problem: `memory image '${path}' is of a domain that is not there`,
    wayOut: `virsh restore '${path}' brings the domain back; where nobody wants it, remove the file`,
  };
}

/** A domain's RAM while its disks were worked on: of one that is active it is out of date, of one that is off it may be all. */
function scratchFindings(item: StoredItem, uuid: string, known: Known): readonly DoctorFinding[] {
  const domain = known.domains.find((each) => each.domain.uuid === uuid);
  if (hasRecord(known, uuid)) return [];
  if (!domain) return [ofGoneDomain(item)];
  const { name, id } = domain.domain;
  if (id >= 0) {
    return [removable(item, uuid, `'${item.path}' is the memory of domain '${name}', which runs again since`, known)];
  }
  const problem = `'${item.path}' is the memory of domain '${name}', which was saved to work on its disks and is off`;
  const wayOut = `virsh restore '${item.path}', where the domain has not been started since; else remove the file`;
  return [{ level: 'problem', problem, wayOut }];
}

/** The folder of metadata, libvirt's own: `<domain>/<snapshot>.xml`. `isDocument`: whether a file can be read as a snapshot. */
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
      const problem = `folder '${folder.path}' holds metadata of a domain '${folder.name}' that is not there`;
      const wayOut = 'define the domain again, under the UUID in the files; where nobody wants it, remove the folder';
      return [{ level: 'problem', problem, wayOut } as const];
    }
    const names = new Set(folder.inside.map(({ name }) => name));
    return folder.inside.flatMap((file) => {
      const target = stem(file.name, '.new');
      if (target === undefined || (!names.has(target) && isDocument(file.path))) return [];
      return [removable(file, domain.uuid, `metadata file '${file.path}' was never finished`, known)];
    });
  });
}

function removable(item: StoredItem, uuid: string | undefined, problem: string, known: Known): DoctorFinding {
  if (hasRecord(known, uuid)) return { level: 'note', problem, wayOut: OPERATION_FIRST };
  if (known.now - item.changed < RECENT_MS) return { level: 'note', problem, wayOut: LATER };
  const what = item.inside ? 'empty folder' : 'file';
  return { level: 'problem', problem, wayOut: FIX, removal: { path: item.path, what, uuid } };
}

export function hasRecord({ records }: Pick<Known, 'records'>, uuid: string | undefined): boolean {
  return records.some((record) => !(record instanceof LibvirtError) && record.domain.uuid === uuid);
}

function foreign({ path }: StoredItem): DoctorFinding {
  const wayOut = 'xlsnapd does not know it and leaves it alone; remove it where nobody needs it';
  return { level: 'note', problem: `'${path}' is not of xlsnapd`, wayOut };
}

function stem(name: string, suffix: string): string | undefined {
  return name.endsWith(suffix) && name.length > suffix.length ? name.slice(0, -suffix.length) : undefined;
}
