/**
 * The images of an external snapshot. A snapshot's state is the backing chain of the overlay that it made: `<domain>`
 * names the base, `<disks>` the overlay, `<revertDisks>` the overlay that a later revert has made on the same base
 * (formatsnapshot.html, "revertDisks").
 */

import type { DiskImage } from '../../model/disk-image.ts';
import type { SnapshotLocation } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';

/** The backing chains of the domain's images now. */
export interface Standing {
  /** The active image of each disk, by target. */
  readonly tips: ReadonlyMap<string, DiskImage>;
  /** The image at the domain's next start, if it differs. */
  readonly next: ReadonlyMap<string, DiskImage>;
  /** The base, by path, of every existing image in the backing chains of the domain and its snapshots. */
  readonly backing: ReadonlyMap<string, DiskImage>;
  /** Paths of images that are named and missing. */
  readonly missing: ReadonlySet<string>;
}

/** The external overlays of one disk, the one that the snapshot made first. */
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

/** How the snapshot captured the disk; undefined for a disk that the snapshot does not know. */
export function locationOf({ disks }: SnapshotDef, disk: string): SnapshotLocation | undefined {
  return disks.find(({ name }) => name === disk)?.location;
}

/** The image that is the disk's state in the snapshot. */
export function stateOf({ domain }: SnapshotDef, disk: string): DiskImage | undefined {
  return domain?.images.get(disk);
}

/** An image and its backing chain. */
export function chainFrom(image: DiskImage | undefined, { backing }: Pick<Standing, 'backing'>): readonly DiskImage[] {
  const chain: DiskImage[] = [];
  for (let here = image; here && !chain.includes(here); here = backing.get(here.path)) chain.push(here);
  return chain;
}
