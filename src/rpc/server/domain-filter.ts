/** The filters of virConnectListAllDomains (virConnectListAllDomainsFlags in libvirt-domain.h). */

import type { DomainSummary } from '../../model/domain.ts';

/** Bits about snapshots: the upstream knows no snapshots, so they are removed from the call and applied here. */
export const SNAPSHOT_BITS = { HAS: 0x1000, NO: 0x2000 } as const;

/** Returns whether a domain with or without snapshots passes. Neither bit, and both, let every domain pass. */
export function passesSnapshotFilter(flags: number, hasSnapshots: boolean): boolean {
  const bits = flags & (SNAPSHOT_BITS.HAS | SNAPSHOT_BITS.NO);
  return bits === 0 || (bits & (hasSnapshots ? SNAPSHOT_BITS.HAS : SNAPSHOT_BITS.NO)) !== 0;
}

type Facts = DomainSummary & { readonly hasSnapshots: boolean };

const isActive = ({ ref }: Facts): boolean => ref.id >= 0;
const OTHER_THAN = new Set<string>(['running', 'paused', 'shutoff']);

/** libvirt's groups of bits: a domain passes a group if none of its bits is set, or if one that is set applies. */
const GROUPS: readonly (readonly [bit: number, fits: (domain: Facts) => boolean][])[] = [
  [
    [0x1, isActive],
    [0x2, (domain) => !isActive(domain)],
  ],
  [
    [0x4, ({ persistent }) => persistent],
    [0x8, ({ persistent }) => !persistent],
  ],
  [
    [0x10, ({ state }) => state === 'running'],
    [0x20, ({ state }) => state === 'paused'],
    [0x40, ({ state }) => state === 'shutoff'],
    [0x80, ({ state }) => !OTHER_THAN.has(state)],
  ],
  [
    [0x100, ({ managedSave = false }) => managedSave],
    [0x200, ({ managedSave = false }) => !managedSave],
  ],
  [
    [0x400, ({ autostart = false }) => autostart],
    [0x800, ({ autostart = false }) => !autostart],
  ],
  [
    [SNAPSHOT_BITS.HAS, ({ hasSnapshots }) => hasSnapshots],
    [SNAPSHOT_BITS.NO, ({ hasSnapshots }) => !hasSnapshots],
  ],
  // Our own domains have no checkpoints.
  [
    [0x4000, () => false],
    [0x8000, () => true],
  ],
];

/** Returns whether a domain passes all groups of `flags`. */
export function passesDomainFilter(flags: number, domain: Facts): boolean {
  return GROUPS.every((group) => {
    const asked = group.filter(([bit]) => (flags & bit) !== 0);
    return asked.length === 0 || asked.some(([, fits]) => fits(domain));
  });
}
