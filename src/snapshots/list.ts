/** The reading calls: they answer from memory and never wait for a job. */

import { LibvirtError } from '../errors.ts';
import { LIST } from '../model/flags.ts';
import { filterOf } from '../model/list-filter.ts';
import type { SnapshotEntry } from '../model/snapshot.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';

/** Snapshots of a domain: all of them, or with ROOTS those without a parent; filtered by the groups of bits. */
export function listOfDomain(snapshots: DomainSnapshots, flags: number): readonly SnapshotEntry[] {
  const { tree } = snapshots;
  const candidates = flags & LIST.ROOTS ? tree.roots() : flags & LIST.TOPOLOGICAL ? tree.descendants() : tree.all();
  return filtered(snapshots, candidates, flags);
}

/** Bits that do not change the count: every snapshot has metadata, and order does not matter. */
const ALL = LIST.METADATA | LIST.TOPOLOGICAL;

/** The number of these, without making a list if no bit leaves any out. */
export function countOfDomain(snapshots: DomainSnapshots, flags: number): number {
  return (flags & ~ALL) === 0 ? snapshots.tree.size : listOfDomain(snapshots, flags).length;
}

/** Children of a snapshot, or with DESCENDANTS all its descendants. Parents always come before their children. */
export function listOfSnapshot(snapshots: DomainSnapshots, name: string, flags: number): readonly SnapshotEntry[] {
  const { tree } = snapshots;
  const below = flags & LIST.DESCENDANTS ? tree.descendants(name) : tree.children(name);
  return filtered(snapshots, below, flags);
}

/** The number of these, without making a list if no bit leaves any out. */
export function countOfSnapshot(snapshots: DomainSnapshots, name: string, flags: number): number {
  return (flags & ~ALL) === 0 ? snapshots.tree.countChildren(name) : listOfSnapshot(snapshots, name, flags).length;
}

/** The parent; error 72 for a root, as virsh expects. A parent that does not exist is returned by its name. */
export function parentOf(snapshots: DomainSnapshots, name: string): string {
  const { parent } = snapshots.find(name);
  if (parent !== undefined) return parent;
  throw new LibvirtError('NO_DOMAIN_SNAPSHOT', `snapshot '${name}' does not have a parent`);
}

/** The current snapshot, or error 72. */
export function currentOf({ current }: DomainSnapshots): SnapshotEntry {
  if (current) return current;
  throw new LibvirtError('NO_DOMAIN_SNAPSHOT', 'the domain does not have a current snapshot');
}

function filtered(
  { tree }: DomainSnapshots,
  candidates: readonly SnapshotEntry[],
  flags: number,
): readonly SnapshotEntry[] {
  const passes = filterOf(flags);
  return candidates.filter((entry) => passes(entry, tree.hasChildren(entry.name)));
}
