/** A domain's snapshots as a tree of text: one line each, with state, kind, size and age beside it. */

import { displayWidth } from './display-width.ts';
import { ownBytes, type SnapshotFacts, type SnapshotKind } from './domain-facts.ts';
import { type Branch, forest } from './forest.ts';
import { formatAge, formatBytes } from './quantities.ts';

export interface TreeTextOptions {
  /** Seconds since the epoch. */
  readonly now: bigint;
  readonly colour: boolean;
  /** Without the heading. */
  readonly quiet: boolean;
}

const HEADING = ['Snapshot', 'State', 'Kind', 'Size', 'Age'] as const;
/** Columns of numbers. */
const RIGHT: ReadonlySet<number> = new Set([3, 4]);

/** SGR of ECMA-48, which every terminal knows. */
const SGR = { bold: '1', dim: '2', green: '32', cyan: '36', yellow: '33' } as const;
type Style = keyof typeof SGR;

const KIND_STYLES: Readonly<Record<SnapshotKind, Style>> = {
  internal: 'green',
  external: 'cyan',
  'disk-only': 'yellow',
  offline: 'dim',
};

const GAP = '   ';

/** Empty for no snapshots. */
export function treeText(snapshots: readonly SnapshotFacts[], { now, colour, quiet }: TreeTextOptions): string {
  const branches = forest(snapshots);
  if (branches.length === 0) return '';
  const heading = HEADING.map((text): Cell => ({ text }));
  const beneath = rails(branches);
  const rows = branches.map(({ item }, index) => row(beneath[index] ?? '', item, now));
  const widths = heading.map((_, column) =>
    Math.max(...[heading, ...rows].map((cells) => displayWidth(cells[column]?.text ?? ''))),
  );
  const shown = ({ text, style }: Cell): string => (colour && style ? `\x1b[${SGR[style]}m${text}\x1b[0m` : text);
  const line = (cells: readonly Cell[]): string => {
    const padded = cells.map((cell, column) => {
      const padding = ' '.repeat((widths[column] ?? 0) - displayWidth(cell.text));
      return RIGHT.has(column) ? padding + shown(cell) : shown(cell) + padding;
    });
    return ` ${padded.join(GAP).trimEnd()}\n`;
  };
  const rule = '-'.repeat(widths.reduce((sum, each) => sum + each + GAP.length, 0));
  return (quiet ? '' : `${line(heading)}${rule}\n`) + rows.map(line).join('');
}

interface Cell {
  readonly text: string;
  readonly style?: Style;
}

function row(rail: string, snapshot: SnapshotFacts, now: bigint): readonly Cell[] {
  const { name, current, state, kind, creationTime } = snapshot;
  const bytes = ownBytes(snapshot);
  return [
    { text: `${rail}${name}${current ? ' *' : ''}`, ...(current && { style: 'bold' }) },
    { text: state },
    { text: kind, style: KIND_STYLES[kind] },
    { text: bytes === undefined ? '?' : formatBytes(bytes) },
    { text: formatAge(Number(now - creationTime)) },
  ];
}

/** What stands before each name. */
function rails(branches: readonly Branch<unknown>[]): readonly string[] {
  /** What its children's lines begin with, per branch. */
  const beneath: string[] = [];
  return branches.map(({ parent, last }) => {
    if (parent === undefined) {
      beneath.push('');
      return '';
    }
    const above = beneath[parent] ?? '';
    beneath.push(`${above}${last ? '   ' : '│  '}`);
    return `${above}${last ? '└─ ' : '├─ '}`;
  });
}
