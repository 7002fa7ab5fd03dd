/**
 * Which images belong to an external snapshot. A snapshot's state is the chain
 * beneath the overlay that it made; that image is what its `<domain>` names. `<disks>` names the overlay, `<revertDisks>`
 * the one that a later revert has put on the same image (formatsnapshot.html, "revertDisks").
 */

import type { DiskImage } from '../../model/disk-image.ts';
import type { SnapshotLocation } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';

/** How the domain's images stand now. */
export interface Standing {
  /** What the domain's disks are, by target. */
  readonly tips: ReadonlyMap<string, DiskImage>;
  /** What they are at its next start, where that is something else. */
  readonly next: ReadonlyMap<string, DiskImage>;
  /** The image beneath, by path: of every image that the domain or one of its snapshots stands on, and that is there. */
  readonly backing: ReadonlyMap<string, DiskImage>;
  /** Paths of images that are named and not there. */
  readonly missing: ReadonlySet<string>;
}

/** The external overlays of one disk: what the snapshot made first. */
export function overlaysOf({ disks, revertDisks }: SnapshotDef, disk: string): readonly DiskImage[] {
  return [...disks, ...revertDisks].flatMap(({ name, location, target }) =>
    name === disk && location === 'external' && target?.path !== undefined
      ? [{ path: target.path, format: target.format ?? 'qcow2' }]
      : [],
  );
}

/** Targets of the disks that the snapshot captured by an overlay. */
export function externalDisks({ disks }: SnapshotDef): readonly string[] {
  return disks.flatMap(({ name, location }) => (location === 'external' ? [name] : []));
}

/** Where the disk's state went; undefined for a disk that the snapshot does not know. */
export function locationOf({ disks }: SnapshotDef, disk: string): SnapshotLocation | undefined {
  return disks.find(({ name }) => name === disk)?.location;
}

/** The image that is the disk's state in the snapshot. */
export function stateOf({ domain }: SnapshotDef, disk: string): DiskImage | undefined {
  return domain?.images.get(disk);
}

/** An image and those beneath it, from the top. */
export function chainFrom(image: DiskImage | undefined, { backing }: Pick<Standing, 'backing'>): readonly DiskImage[] {
  const chain: DiskImage[] = [];
  for (let here = image; here && !chain.includes(here); here = backing.get(here.path)) chain.push(here);
  return chain;
}
