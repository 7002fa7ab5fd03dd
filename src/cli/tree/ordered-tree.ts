/** Orders snapshots for trees: parents before children, the older branch first. */

import { SnapshotTree } from '../../model/tree.ts';

interface Grown {
  readonly name: string;
  readonly parent?: string;
  /** Seconds since the epoch. */
  readonly creationTime: bigint;
}

/** An item with its place in the tree. */
export interface Branch<T> {
  readonly item: T;
  readonly depth: number;
  /** Its parent's index in the list; undefined for a root. */
  readonly parent: number | undefined;
  /** True for the last of its parent's children, or the last root. */
  readonly last: boolean;
  readonly leaf: boolean;
}

/** Returns all trees in one list. An item without a parent here, or whose link would close a cycle, is a root. */
export function forest<T extends Grown>(items: Iterable<T>): readonly Branch<T>[] {
  const { tree } = SnapshotTree.of(items);
  const branches: Branch<T>[] = [];
  const waiting = siblings(tree.roots()).map((sibling) => ({
    ...sibling,
    depth: 0,
    parent: undefined as number | undefined,
  }));
  waiting.reverse();
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const children = siblings(tree.children(next.item.name));
    const at = branches.push({ ...next, leaf: children.length === 0 }) - 1;
    const { depth } = next;
    waiting.push(...children.map((child) => ({ ...child, depth: depth + 1, parent: at })).reverse());
  }
  return branches;
}

function siblings<T extends Grown>(items: readonly T[]): readonly Pick<Branch<T>, 'item' | 'last'>[] {
  const ordered = items.toSorted((a, b) => Number(a.creationTime - b.creationTime) || (a.name < b.name ? -1 : 1));
  return ordered.map((item, index) => ({ item, last: index === ordered.length - 1 }));
}
