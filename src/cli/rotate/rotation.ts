/** The snapshots of a rotation: how they are named, which ones it has made, and which of them are to go. */

import type { SnapshotDocument } from '../snapshot/snapshot-document.ts';

/** The time in a name: UTC, without what a file name or a shell would mind. */
const STAMP = /^\d{8}T\d{6}Z$/;

/** `daily-20261130T165327Z`. */
export function rotationName(label: string, at: Date): string {
  return `${label}-${at.toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
}

/** The description by which a rotation knows its snapshots: one that has only the name was made by somebody else. */
export function rotationDescription(label: string): string {
  return `made by xlsnap rotate --label ${label}`;
}

type Found = Pick<SnapshotDocument, 'name' | 'description'>;

/**
 * Returns the names of the snapshots that the rotation has made, but for the newest `keep`; the oldest comes first. `kept`:
 * those that are protected, which stay beside them.
 */
export function surplus(
  found: readonly Found[],
  { label, keep, kept }: { readonly label: string; readonly keep: number; readonly kept: ReadonlySet<string> },
): readonly string[] {
  const prefix = `${label}-`;
  const own = found
    .filter(({ name, description }) => {
      const isNamed = name.startsWith(prefix) && STAMP.test(name.slice(prefix.length));
      return isNamed && description === rotationDescription(label) && !kept.has(name);
    })
    .map(({ name }) => name)
    .sort();
  return own.slice(0, Math.max(0, own.length - keep));
}
