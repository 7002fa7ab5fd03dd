/** Filters the snapshots of a list call by libvirt's groups of bits. */

import { LIST } from './flags.ts';
import { isExternal, type SnapshotDef } from './snapshot.ts';

type Listed = Pick<SnapshotDef, 'state' | 'memory' | 'disks'>;

interface FilterContext {
  readonly hasChildren: boolean;
}

/** One row per bit. Within a group, no bit or all bits mean no filtering; a snapshot must pass all groups. */
const GROUPS: readonly (readonly {
  readonly bit: number;
  readonly holds: (s: Listed, c: FilterContext) => boolean;
}[])[] = [
  [
    { bit: LIST.METADATA, holds: () => true },
    { bit: LIST.NO_METADATA, holds: () => false },
  ],
  // Two groups, as in libvirt 9.0: both bits together match nothing.
  [{ bit: LIST.LEAVES, holds: (_, { hasChildren }) => !hasChildren }],
  [{ bit: LIST.NO_LEAVES, holds: (_, { hasChildren }) => hasChildren }],
  [
    { bit: LIST.INACTIVE, holds: ({ state }) => state === 'shutoff' },
    { bit: LIST.ACTIVE, holds: ({ state }) => state !== 'shutoff' && state !== 'disk-snapshot' },
    { bit: LIST.DISK_ONLY, holds: ({ state }) => state === 'disk-snapshot' },
  ],
  [
    { bit: LIST.INTERNAL, holds: (snapshot) => !isExternal(snapshot) },
    { bit: LIST.EXTERNAL, holds: (snapshot) => isExternal(snapshot) },
  ],
];

/** Returns a predicate that is true for snapshots that pass every group of `flags`. */
export function filterOf(flags: number): (snapshot: Listed, hasChildren: boolean) => boolean {
  const asked = GROUPS.map((group) => group.filter(({ bit }) => flags & bit)).filter(({ length }) => length > 0);
  return (snapshot, hasChildren) => asked.every((group) => group.some(({ holds }) => holds(snapshot, { hasChildren })));
}
