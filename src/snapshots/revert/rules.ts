/** What a revert refuses before anything is touched: by the domain, by the snapshot's document, by how the images stand. */

import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import { REVERT } from '../../model/flags.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { backingOf } from '../chains/read-chains.ts';
import { sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf, type Standing, stateOf } from '../chains/snapshot-images.ts';
import type { Looking } from '../context.ts';
import { checkNothingStandsOn, internalImages, misplacedLayer } from './layer-rules.ts';

/** The qemu driver's checks, in its order. */
export function checkRevert(domain: Domain, snapshot: SnapshotDef, flags: number): void {
  const wakesUp = snapshot.state === 'running' || snapshot.state === 'paused';
  if (!domain.persistent && !wakesUp && !(flags & (REVERT.RUNNING | REVERT.PAUSED))) {
    const text = 'transient domain needs to request run or pause to revert to inactive snapshot';
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  const half = snapshot.disks.find(({ deleteInProgress }) => deleteInProgress);
  if (half) {
    const text =
      `snapshot disk '${half.name}' was target of not completed snapshot delete: the image may hold later writes by now; ` +
      `run snapshot-delete of snapshot '${snapshot.name}' again`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (!snapshot.domain) throw lacksDefinition(domain, snapshot);
  if (domain.managedSave && !wakesUp && !(flags & REVERT.FORCE)) {
    const advice = 'removal of existing managed saved state strongly recommended to avoid corruption';
    throw new LibvirtError('SNAPSHOT_REVERT_RISKY', `snapshot without memory state, ${advice}`);
  }
}

/** libvirt's refusal (77) of a document without the domain's definition. */
export function lacksDefinition(domain: Domain, { name }: SnapshotDef): LibvirtError {
  return new LibvirtError(
    'SNAPSHOT_REVERT_RISKY',
    `snapshot '${name}' lacks domain '${domain.ref.name}' rollback info`,
  );
}

/** True where the domain has moved on from an image that an internal snapshot is in: others may stand on that by now. */
export function hasMovedOn(snapshot: SnapshotDef, tips: ReadonlyMap<string, DiskImage>): boolean {
  return [...internalImages(snapshot)].some(([disk, { path }]) => tips.get(disk)?.path !== path);
}

/** Refuses to change, by putting internal snapshots back, what other snapshots or other domains stand on. */
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
    // One that cannot be read is refused when it is reverted to itself.
    const found = await backingOf(context.images, [state], { names: [...inside.values()] }).catch(() => []);
    for (const [path, beneath] of found) backing.set(path, beneath);
  }
  checkNothingStandsOn(snapshot, others, { backing });
  const left = [...inside].filter(([disk, { path }]) => tips.get(disk)?.path !== path);
  const paths = left.map(([, { path }]) => path);
  for (const [path, other] of await sharedImages(context, domain, paths, 'beneath')) {
    throw new LibvirtError(
      'OPERATION_INVALID',
      `revert to internal snapshot '${snapshot.name}' of domain '${domain.ref.name}' would change image '${path}', which ` +
        `domain '${other.ref.name}' stands on: give that one an image of its own first`,
    );
  }
}

/**
 * Refuses (77: `--force` goes on) where a layer beneath the snapshot does not stand on the image that it was made above:
 * somebody has put another file in its place, or has changed its header. All images are there and can be read.
 */
export async function checkLayers(
  { images }: Pick<Looking, 'images'>,
  snapshot: SnapshotDef,
  others: readonly SnapshotDef[],
  flags: number,
): Promise<void> {
  if (flags & REVERT.FORCE || externalDisks(snapshot).length === 0) return;
  const all = [snapshot, ...others];
  const states = externalDisks(snapshot).flatMap((disk) => stateOf(snapshot, disk) ?? []);
  const names = all.flatMap((each) =>
    externalDisks(each).flatMap((disk) => [...overlaysOf(each, disk), stateOf(each, disk) ?? []].flat()),
  );
  const standing: Pick<Standing, 'backing'> = { backing: await backingOf(images, states, { names }) };
  const found = misplacedLayer(snapshot, all, standing);
  if (!found) return;
  const { disk, layer, owner, expected, beneath } = found;
  throw new LibvirtError(
    'SNAPSHOT_REVERT_RISKY',
    `image '${layer.path}' of disk '${disk}', beneath snapshot '${snapshot.name}', stands on ` +
      `${beneath ? `'${beneath.path}'` : 'no image'}, but snapshot '${owner.name}' has made it above '${expected.path}': ` +
      'has another file been put in its place?',
  );
}
