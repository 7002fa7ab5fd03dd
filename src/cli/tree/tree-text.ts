/** Prints a domain's snapshots as a tree: one line each, with state, kind, size and age. */

import { ownBytes, type SnapshotKind, type SnapshotOnDisk } from '../storage/domain-facts.ts';
import { type Cell, type Column, columns, type Style } from '../terminal/columns.ts';
import { formatAge, formatBytes } from '../terminal/quantities.ts';
import { type Branch, forest } from './ordered-tree.ts';

interface TreeTextOptions {
  /** Seconds since the epoch. */
  readonly now: bigint;
  /** The protected snapshots. */
  readonly kept: ReadonlySet<string>;
  readonly colour: boolean;
  /** Leaves the heading out. */
  readonly quiet: boolean;
}

const HEADING: readonly Column[] = [
  { title: 'Snapshot' },
  { title: 'State' },
  { title: 'Kind' },
  { title: 'Size', right: true },
  { title: 'Age', right: true },
];

const KIND_STYLES: Readonly<Record<SnapshotKind, Style>> = {
  internal: 'green',
  external: 'cyan',
  'disk-only': 'yellow',
  offline: 'dim',
};

/** Returns the tree as a table. */
export function treeText(snapshots: readonly SnapshotOnDisk[], { now, kept, ...options }: TreeTextOptions): string {
  const branches = forest(snapshots);
  const prefixes = rails(branches);
  return columns(
    HEADING,
    branches.map(({ item }, at) => row(prefixes[at] ?? '', item, { now, isProtected: kept.has(item.name) })),
    options,
  );
}

function row(
  rail: string,
  snapshot: SnapshotOnDisk,
  { now, isProtected }: { readonly now: bigint; readonly isProtected: boolean },
): readonly Cell[] {
  const { name, current, state, kind, creationTime } = snapshot;
  const bytes = ownBytes(snapshot);
  return [
    {
      text: `${rail}${name}${current ? ' *' : ''}${isProtected ? ' (protected)' : ''}`,
      ...(current && { style: 'bold' }),
    },
    { text: state },
    { text: kind, style: KIND_STYLES[kind] },
    { text: bytes === undefined ? '?' : formatBytes(bytes) },
    { text: formatAge(Number(now - creationTime)) },
  ];
}

/** Returns the branch lines in front of each name. */
function rails(branches: readonly Branch<unknown>[]): readonly string[] {
  /** By node: the start of its children's lines. */
  const prefixes: string[] = [];
  return branches.map(({ parent, last }) => {
    if (parent === undefined) {
      prefixes.push('');
      return '';
    }
    const above = prefixes[parent] ?? '';
    prefixes.push(`${above}${last ? '   ' : '│  '}`);
    return `${above}${last ? '└─ ' : '├─ '}`;
  });
}
