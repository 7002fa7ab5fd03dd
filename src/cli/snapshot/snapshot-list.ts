/** `snapshot-list`: tables, names and trees. */

import { listFlags } from '../../client/flags.ts';
import type { DomainRef } from '../../model/domain.ts';
import { LIST } from '../../model/flags.ts';
import type { SnapshotRow } from '../../model/snapshot.ts';
import type { SnapshotCalls, SnapshotRef } from '../../rpc/client/snapshots.ts';
import { command, DOMAIN, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { protectedNames } from '../protect/protected-names.ts';
import { orNone, type Session } from '../session.ts';
import { nameOrder } from '../terminal/name-order.ts';
import { formatTable } from '../terminal/virsh-table.ts';
import type { SnapshotDocument } from './snapshot-document.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';
import { type Branch, formatBranches } from './virsh-tree.ts';

/** Filters that cannot be combined with `--tree`. */
const NOT_OF_TREES = ['leaves', 'no-leaves', 'inactive', 'active', 'disk-only', 'internal', 'external'] as const;
type FilterName = (typeof NOT_OF_TREES)[number] | 'topological' | 'roots' | 'metadata' | 'no-metadata' | 'descendants';

const EXCLUSIVE = [
  ['tree', 'name'],
  ['parent', 'roots'],
  ['parent', 'tree'],
  ['roots', 'tree'],
  ['roots', 'from'],
  ['roots', 'current'],
  ['long', 'tree'],
  ['long', 'name'],
  ['long', 'parent'],
  ['long', 'json'],
] as const;

/** `xlsnap snapshot-list`, as in virsh. */
export const SNAPSHOT_LIST = command({
  description: 'Snapshot List',
  options: [
    DOMAIN,
    { name: 'parent', type: 'bool', help: 'add a column showing parent snapshot' },
    { name: 'roots', type: 'bool', help: 'list only snapshots without parents' },
    { name: 'leaves', type: 'bool', help: 'list only snapshots without children' },
    { name: 'no-leaves', type: 'bool', help: 'list only snapshots that are not leaves (with children)' },
    { name: 'metadata', type: 'bool', help: 'list only snapshots that have metadata that would prevent undefine' },
    { name: 'no-metadata', type: 'bool', help: 'list only snapshots that have no metadata managed by libvirt' },
    { name: 'inactive', type: 'bool', help: 'filter by snapshots taken while inactive' },
    { name: 'active', type: 'bool', help: 'filter by snapshots taken while active (full system snapshots)' },
    { name: 'disk-only', type: 'bool', help: 'filter by disk-only snapshots' },
    { name: 'internal', type: 'bool', help: 'filter by internal snapshots' },
    { name: 'external', type: 'bool', help: 'filter by external snapshots' },
    { name: 'tree', type: 'bool', help: 'list snapshots in a tree' },
    { name: 'from', type: 'string', help: 'limit list to children of given snapshot', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'limit list to children of current snapshot' },
    { name: 'descendants', type: 'bool', help: 'with --from, list all descendants' },
    { name: 'name', type: 'bool', help: 'list snapshot names only' },
    { name: 'topological', type: 'bool', help: 'sort list topologically rather than by name' },
    { name: 'long', short: 'l', type: 'bool', help: "print libxl's structs as libxl-json" },
    JSON_OPTION,
  ],
  async run(values, session) {
    for (const [first, second] of EXCLUSIVE) exclusive(values, first, second);
    const flags = flagsOf(values);
    const domain = await session.domain(values.domain);
    const { snapshots } = await session.client();
    const start = await startOf(session, domain, values);
    const found = await collect(snapshots, domain, start, flags);
    if (values.tree) return show(session, values.json, await branches(snapshots, found, start), formatBranches);
    if (values.name) {
      const names = found.map(({ name }) => name);
      return show(session, values.json, names, (all) => all.map((name) => `${name}\n`).join(''));
    }
    if (values.long) {
      const { longList } = await import('../libxl-json/long-list.ts');
      return session.print(await longList(session, domain, await documentsOf(snapshots, found)));
    }
    const kept = await protectedNames(session, domain);
    const marked = <T extends { readonly name: string }>(row: T): T & { readonly protected?: true } => ({
      ...row,
      ...(kept.has(row.name) && { protected: true as const }),
    });
    const rows = values.json ? undefined : await rowsOf(session, domain, found);
    if (rows) return session.print(table(rows.map(marked), values.parent, session.quiet));
    // Reading XML takes as long to load as all the rest.
    const { readDocument } = await import('./snapshot-document.ts');
    const read = (await documentsOf(snapshots, found)).map(readDocument).map(marked);
    show(session, values.json, read, (all) => table(all, values.parent, session.quiet));
  },
});

/** Prints a value as JSON, or as text. */
function show<T>(session: Session, json: boolean, value: T, format: (value: T) => string): void {
  if (json) session.json(value);
  else session.print(format(value));
}

type Given = Readonly<Record<FilterName | 'tree' | 'current', boolean>> & {
  readonly from: string | undefined;
};

function flagsOf(given: Given): number {
  const clash = NOT_OF_TREES.find((name) => given.tree && given[name]);
  if (clash) throw failure(`--${clash} and --tree are mutually exclusive`);
  if (given.descendants && given.from === undefined && !given.current) {
    throw failure('--descendants requires either --from or --current');
  }
  const [noLeaves, diskOnly, noMetadata] = [given['no-leaves'], given['disk-only'], given['no-metadata']];
  return listFlags({ ...given, noLeaves, diskOnly, noMetadata });
}

async function startOf(
  session: Session,
  domain: DomainRef,
  { from, current }: Given,
): Promise<SnapshotRef | undefined> {
  if (from === undefined && !current) return undefined;
  return lookupSnapshot(session, domain, { name: from, current, option: 'from' });
}

async function collect(
  snapshots: SnapshotCalls,
  domain: DomainRef,
  start: SnapshotRef | undefined,
  flags: number,
): Promise<readonly SnapshotRef[]> {
  const found = start ? await snapshots.listAllChildren(start, flags) : await snapshots.listAll(domain, flags);
  return flags & LIST.TOPOLOGICAL ? found : [...found].sort(nameOrder(process.env));
}

/** Returns the nodes of the tree; `start`, if given, is its root. */
async function branches(
  snapshots: SnapshotCalls,
  found: readonly SnapshotRef[],
  start: SnapshotRef | undefined,
): Promise<readonly Branch[]> {
  const parents = await Promise.all(
    found.map((snapshot) => snapshots.getParent(snapshot, 0).catch(orNone('NO_DOMAIN_SNAPSHOT'))),
  );
  const hanging = found.map(({ name }, at): Branch => ({ name, parent: parents[at]?.name }));
  return start ? [...hanging, { name: start.name }].sort(nameOrder(process.env)) : hanging;
}

/** Leaves out those that were deleted after the list was made. Returns undefined if the daemon cannot tell but by documents. */
async function rowsOf(
  session: Session,
  domain: DomainRef,
  found: readonly SnapshotRef[],
): Promise<readonly SnapshotRow[] | undefined> {
  const all = await (await session.client()).listRows(domain);
  const rows = all && new Map(all.map((row) => [row.name, row]));
  return rows && found.map(({ name }) => rows.get(name)).filter((row) => row !== undefined);
}

/** Leaves out those that were deleted after the list was made. */
async function documentsOf(snapshots: SnapshotCalls, found: readonly SnapshotRef[]): Promise<readonly string[]> {
  const read = found.map((snapshot) => snapshots.getXMLDesc(snapshot, 0).catch(orNone('NO_DOMAIN_SNAPSHOT')));
  return (await Promise.all(read)).filter((document) => document !== undefined);
}

interface Row extends Pick<SnapshotDocument, 'name' | 'state' | 'parent'> {
  readonly creationTime: number | bigint;
  readonly protected?: true;
}

/** virsh's table, with a column more if one of the snapshots is protected. */
function table(all: readonly Row[], withParent: boolean, quiet: boolean): string {
  const withProtected = all.some((row) => row.protected);
  const more = [...(withParent ? ['Parent'] : []), ...(withProtected ? ['Protected'] : [])];
  const headline = ['Name', 'Creation Time', 'State', ...more];
  const rows = all.map(({ name, creationTime, state, parent = '', protected: isProtected }) => [
    name,
    localTime(Number(creationTime)),
    state,
    ...(withParent ? [parent] : []),
    ...(withProtected ? [isProtected ? 'yes' : ''] : []),
  ]);
  return formatTable(headline, rows, { quiet });
}

/** Formats local time: `2026-11-24 13:44:52 +0000`. */
function localTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  const offset = -time.getTimezoneOffset();
  const local = new Date(time.getTime() + offset * 60_000).toISOString();
  const [hours, minutes] = [Math.trunc(Math.abs(offset) / 60), Math.abs(offset) % 60].map((part) =>
    String(part).padStart(2, '0'),
  );
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${offset < 0 ? '-' : '+'}${hours}${minutes}`;
}
