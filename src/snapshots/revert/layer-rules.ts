/** What a revert must not change, and whether what it needs stands as the domain's snapshots have made it. Nothing is looked at but what is given. */

import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { chainFrom, externalDisks, locationOf, overlaysOf, type Standing, stateOf } from '../chains/snapshot-images.ts';

/** The images whose contents a revert to the snapshot puts back, by disk. */
export function internalImages(snapshot: SnapshotDef): ReadonlyMap<string, DiskImage> {
  return new Map(
    snapshot.disks.flatMap(({ name, location }) => {
      const image = location === 'internal' ? stateOf(snapshot, name) : undefined;
      return image ? [[name, image] as const] : [];
    }),
  );
}

/**
 * Refuses (84) to put an internal snapshot's contents back into an image that another snapshot's layers stand on, near or
 * far: it would change what they show. What is inside the same image stays. `backing`: the image beneath, by path.
 */
export function checkNothingStandsOn(
  snapshot: SnapshotDef,
  others: readonly SnapshotDef[],
  standing: Pick<Standing, 'backing'>,
): void {
  for (const [disk, image] of internalImages(snapshot)) {
    const above = others.find((other) => {
      const location = locationOf(other, disk);
      if (location !== 'internal' && location !== 'external') return false;
      const at = chainFrom(stateOf(other, disk), standing).findIndex(({ path }) => path === image.path);
      return at > 0 || (at === 0 && location === 'external');
    });
    if (!above) continue;
    throw new LibvirtError(
      'OPERATION_UNSUPPORTED',
      `revert to internal snapshot '${snapshot.name}' would change image '${image.path}' of disk '${disk}', which ` +
        `${locationOf(above, disk)} snapshot '${above.name}' stands on: delete that one first`,
    );
  }
}

/** A layer that does not stand on what it was made above. */
interface MisplacedLayer {
  readonly disk: string;
  readonly layer: DiskImage;
  /** What it stands on. */
  readonly beneath: DiskImage | undefined;
  /** The snapshot that has made it, and above what. */
  readonly owner: SnapshotDef;
  readonly expected: DiskImage;
}

/** The first such among the images that the snapshot's overlays were made above. `all`: the domain's snapshots. */
export function misplacedLayer(
  snapshot: SnapshotDef,
  all: readonly SnapshotDef[],
  standing: Pick<Standing, 'backing'>,
): MisplacedLayer | undefined {
  for (const disk of externalDisks(snapshot)) {
    for (const layer of chainFrom(stateOf(snapshot, disk), standing)) {
      const owner = all.find((each) => overlaysOf(each, disk).some(({ path }) => path === layer.path));
      const expected = owner && stateOf(owner, disk);
      const beneath = standing.backing.get(layer.path);
      if (expected && beneath?.path !== expected.path) return { disk, layer, beneath, owner, expected };
    }
  }
  return undefined;
}
