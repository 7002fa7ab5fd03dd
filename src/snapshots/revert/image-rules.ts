/** Refuses to change images that others use, and backing chains that are not as the snapshot made them. */

import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { backingOf } from '../chains/read-chains.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import { chainFrom, externalDisks, locationOf, overlaysOf, type Standing, stateOf } from '../chains/snapshot-images.ts';
import type { Looking } from '../context.ts';

/** The images whose contents a revert to the snapshot puts back, by disk. */
export function internalImages(snapshot: SnapshotDef): ReadonlyMap<string, DiskImage> {
  return new Map(
    snapshot.disks.flatMap(({ name, location }) => {
      const image = location === 'internal' ? stateOf(snapshot, name) : undefined;
      return image ? [[name, image] as const] : [];
    }),
  );
}

/** Refuses to put back internal snapshots if that changed an image of another snapshot (84) or another domain (55). */
export async function checkInternalImages(
  context: Looking,
  domain: Domain,
  snapshot: SnapshotDef,
  { tips, others }: { readonly tips: ReadonlyMap<string, DiskImage>; readonly others: readonly SnapshotDef[] },
): Promise<void> {
  const inside = internalImages(snapshot);
  if (inside.size === 0) return;
  const backing = new Map<string, DiskImage>();
  for (const state of others.flatMap((other) => [...inside.keys()].flatMap((disk) => stateOf(other, disk) ?? []))) {
    if (backing.has(state.path)) continue;
    // An unreadable image is reported when somebody reverts to that snapshot.
    const found = await backingOf(context.images, [state], { names: [...inside.values()] }).catch(() => []);
    for (const [path, base] of found) backing.set(path, base);
  }
  checkNotBase(snapshot, others, { backing });
  const changed = [...inside].map(([disk, { path }]) => ({ disk, path }));
  const isTip = ({ disk, path }: (typeof changed)[number]): boolean => tips.get(disk)?.path === path;
  // Of the image that the disk is on now, domains that share it by design are reverted in turn, as in libvirt.
  const shared = [
    ...(await sharedImages(context, domain, changed.filter(isTip), 'only as base')),
    ...(await sharedImages(
      context,
      domain,
      changed.filter((each) => !isTip(each)),
      'as base',
    )),
  ];
  for (const [path, user] of shared) {
    throw new LibvirtError(
      'OPERATION_INVALID',
      `revert to internal snapshot '${snapshot.name}' of domain '${domain.ref.name}' would change image '${path}', which ` +
        `${describeUser(user)} is based on: give that one an image of its own first`,
    );
  }
}

/**
 * Refuses (84) to put an internal snapshot's contents back into an image in the backing chain of another snapshot: it
 * would change what that one shows. Internal snapshots in the same image stay. `backing`: the base of each image, by
 * path.
 */
export function checkNotBase(
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
        `${locationOf(above, disk)} snapshot '${above.name}' is based on: delete that snapshot first`,
    );
  }
}

/**
 * Refuses (77) if an overlay in a backing chain of the snapshot does not have the base that it was made on: somebody
 * has replaced the file, or changed its header. All images exist and can be read.
 */
export async function checkChains(
  images: Looking['images'],
  snapshot: SnapshotDef,
  others: readonly SnapshotDef[],
): Promise<void> {
  if (externalDisks(snapshot).length === 0) return;
  const all = [snapshot, ...others];
  const states = externalDisks(snapshot).flatMap((disk) => stateOf(snapshot, disk) ?? []);
  const names = all.flatMap((each) =>
    externalDisks(each).flatMap((disk) => [...overlaysOf(each, disk), stateOf(each, disk) ?? []].flat()),
  );
  const found = misplacedOverlay(snapshot, all, { backing: await backingOf(images, states, { names }) });
  if (!found) return;
  const { disk, overlay, owner, expected, base } = found;
  throw new LibvirtError(
    'SNAPSHOT_REVERT_RISKY',
    `image '${overlay.path}' of disk '${disk}', in the backing chain of snapshot '${snapshot.name}', has ` +
      `${base ? `backing image '${base.path}'` : 'no backing image'}, but snapshot '${owner.name}' made it on ` +
      `'${expected.path}': has another file been put in its place?`,
  );
}

/** An overlay whose base is not the image that it was made on. */
interface MisplacedOverlay {
  readonly disk: string;
  readonly overlay: DiskImage;
  /** The base that it has. */
  readonly base: DiskImage | undefined;
  /** The snapshot that made it, and the image that it was made on. */
  readonly owner: SnapshotDef;
  readonly expected: DiskImage;
}

/** The first such in the backing chains of the snapshot. `all`: the domain's snapshots. Pure: no I/O. */
export function misplacedOverlay(
  snapshot: SnapshotDef,
  all: readonly SnapshotDef[],
  standing: Pick<Standing, 'backing'>,
): MisplacedOverlay | undefined {
  for (const disk of externalDisks(snapshot)) {
    for (const overlay of chainFrom(stateOf(snapshot, disk), standing)) {
      const owner = all.find((each) => overlaysOf(each, disk).some(({ path }) => path === overlay.path));
      const expected = owner && stateOf(owner, disk);
      const base = standing.backing.get(overlay.path);
      if (expected && base?.path !== expected.path) return { disk, overlay, base, owner, expected };
    }
  }
  return undefined;
}
