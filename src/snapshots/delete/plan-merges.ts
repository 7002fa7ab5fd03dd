/** Plans the merges of a delete, and refuses those that would change other branches. Pure: no I/O. */

import { dirname } from 'node:path';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import type { DomainDefinition } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { withDiskImages } from '../../xml/domain/definition.ts';
import type { Touched } from '../chains/shared-images.ts';
import { chainFrom, externalDisks, overlaysOf, type Standing, stateOf } from '../chains/snapshot-images.ts';
import { disksParted, imageMissing, notOnState, severalBranches } from './merge-refusals.ts';

/** The changes of the overlays by the delete of one snapshot. */
export interface Merge {
  /** Merges in the backing chain of the domain's active image. */
  readonly own: readonly LayerCommit[];
  /** Merges in other branches, which nobody has open. */
  readonly others: readonly LayerCommit[];
  /** Overlays of other branches on a merged one: they get its base as their backing image. */
  readonly rebased: readonly { readonly image: DiskImage; readonly base: DiskImage }[];
  /** Overlays that are the base of nothing and that nobody uses. */
  readonly unused: readonly (DiskImage & { readonly disk: string })[];
}

/**
 * Plans the delete of `snapshot`, given all the domain's other snapshots. Refuses (84) if more than one branch, the
 * domain's own included, has the snapshot's image as its base: merging one of them would change the others. `emptied`:
 * paths of overlays that exist and that an interrupted delete has merged.
 */
export function planMerge(
  snapshot: SnapshotDef,
  others: readonly SnapshotDef[],
  standing: Standing,
  emptied: ReadonlySet<string> = new Set(),
): Merge {
  const parts = externalDisks(snapshot).map((disk) => mergeOfDisk(snapshot, disk, others, { ...standing, emptied }));
  return {
    own: parts.flatMap(({ own }) => own),
    others: parts.flatMap((part) => part.others),
    rebased: parts.flatMap(({ rebased }) => rebased),
    unused: parts.flatMap(({ unused }) => unused),
  };
}

function mergeOfDisk(
  snapshot: SnapshotDef,
  disk: string,
  others: readonly SnapshotDef[],
  standing: Standing & { readonly emptied: ReadonlySet<string> },
): Merge {
  const tip = standing.tips.get(disk);
  const own = chainFrom(tip, standing);
  const overlays = overlaysOf(snapshot, disk);
  const stands = [standing.next.get(disk), ...others.map((other) => stateOf(other, disk))];
  const needed = byPath([...own, ...stands.flatMap((image) => chainFrom(image, standing))]);
  const unused = overlays.filter(({ path }) => !needed.has(path)).map((image) => ({ ...image, disk }));
  const nothing: Merge = { own: [], others: [], rebased: [], unused };

  const base = stateOf(snapshot, disk);
  const isParted = !haveCommon(own, [...chainFrom(base, standing), ...overlays]);
  const doubtful = isParted ? overlays : tip?.path === base?.path ? unused : [];
  const left = doubtful.find(({ path }) => standing.backing.has(path) && !standing.emptied.has(path));
  if (left) throw disksParted(snapshot, disk, tip, left);
  const isOnState = ({ path }: DiskImage): boolean => !!base && standing.backing.get(path)?.path === base.path;
  const foreign = unused.find((image) => !standing.missing.has(image.path) && !isOnState(image));
  if (foreign) throw notOnState(snapshot, disk, foreign);
  if (!base) return nothing;
  // The image is the state of another snapshot, too, and must not change.
  if (others.some((other) => externalDisks(other).includes(disk) && stateOf(other, disk)?.path === base.path)) {
    return nothing;
  }
  // If the overlay's file is gone or emptied, a delete that was interrupted has merged it.
  const isOurs = ({ path }: DiskImage): boolean => overlays.some((overlay) => overlay.path === path);
  const isGone = (image: DiskImage): boolean => !standing.backing.has(image.path) && isOurs(image);
  const isMerged = (image: DiskImage): boolean => isGone(image) || standing.emptied.has(image.path);
  const standsOn = (image: DiskImage, on: DiskImage): boolean => standing.backing.get(image.path)?.path === on.path;
  const tops = [...needed.values()].filter((image) => standsOn(image, base) || isMerged(image));
  // After the merge the overlay above has the base as its backing image; an interrupted delete may have got no further.
  const isBegun = snapshot.disks.some(({ name, deleteInProgress }) => name === disk && deleteInProgress);
  const merged = isBegun && tops.length > 0 ? mergedOf(tops, unused, isOurs) : undefined;
  const top = merged ?? tops[0];
  if (!top) return nothing;
  // If the base is missing as well, the folder may only be unmounted.
  const isElsewhere = standing.missing.has(base.path) || dirname(top.path) !== dirname(base.path);
  if (isGone(top) && isElsewhere) throw imageMissing(snapshot, disk, `overlay '${top.path}'`);
  if (standing.missing.has(base.path)) throw imageMissing(snapshot, disk, `image '${base.path}'`);
  if (!merged && (tops.length > 1 || (tip?.path === base.path && !isMerged(top)))) {
    throw severalBranches(snapshot, disk, base);
  }

  const onBase = merged ? own.findIndex(({ path }) => path === base.path) : -1;
  const place = onBase > 0 ? onBase : own.findIndex(({ path }) => path === top.path);
  const above = own[place - 1];
  const layer: LayerCommit = { disk, top, base, ...(above && { above }) };
  // Also overlays that nobody uses yet: they are removed with their own snapshot, and must be readable until then.
  const known = byPath([...needed.values(), ...others.flatMap((other) => overlaysOf(other, disk))]);
  const rebased = [...known.values()].filter((image) => standsOn(image, top) && image.path !== above?.path);
  return {
    own: place >= 0 ? [layer] : [],
    others: place >= 0 ? [] : [layer],
    rebased: rebased.map((image) => ({ image, base })),
    unused,
  };
}

/**
 * The layer that an interrupted delete has merged already: the image that was above it is on the base beside it by now, and
 * it may be that nothing needs the layer any more, or that its file is gone. Undefined if it is yet to be merged.
 */
function mergedOf(
  tops: readonly DiskImage[],
  unused: readonly DiskImage[],
  isOurs: (image: DiskImage) => boolean,
): DiskImage | undefined {
  const ours = tops.find(isOurs);
  return tops.length > 1 ? ours : ours ? undefined : unused[0];
}

function haveCommon(some: readonly DiskImage[], others: readonly DiskImage[]): boolean {
  return some.some(({ path }) => others.some((other) => other.path === path));
}

/** Returns the definition with the base in place of each merged overlay. */
export function movedBy({ own, others }: Merge, definition: DomainDefinition): DomainDefinition {
  const merged = [...own, ...others].filter(({ disk, top }) => definition.images.get(disk)?.path === top.path);
  return withDiskImages(definition, new Map(merged.map(({ disk, base }) => [disk, base])));
}

/** Returns the snapshot with the base in place of each merged overlay; undefined if it used none. */
export function restated(snapshot: SnapshotDef, merge: Merge): SnapshotDef | undefined {
  const merged = [...merge.own, ...merge.others];
  if (!merged.some(({ disk, top }) => stateOf(snapshot, disk)?.path === top.path)) return undefined;
  const { domain, inactiveDomain } = snapshot;
  return {
    ...snapshot,
    ...(domain && { domain: movedBy(merge, domain) }),
    ...(inactiveDomain && { inactiveDomain: movedBy(merge, inactiveDomain) }),
  };
}

/** A merge, and the other snapshots as they are before it. */
export interface PlannedMerge {
  readonly plan: Merge;
  readonly others: readonly SnapshotDef[];
}

/**
 * Plans deletes of several snapshots, one after the other, by name, for those that have overlays. All of them are
 * planned first, so that no merge is done if a later one would be refused. `all`: the domain's snapshots.
 */
export function planMerges(
  doomed: readonly string[],
  all: readonly SnapshotDef[],
  standing: Standing,
  emptied?: ReadonlySet<string>,
): ReadonlyMap<string, PlannedMerge> {
  const plans = new Map<string, PlannedMerge>();
  let left = all;
  let now = standing;
  for (const name of doomed) {
    const snapshot = left.find((def) => def.name === name);
    left = left.filter((def) => def.name !== name);
    if (!snapshot || externalDisks(snapshot).length === 0) continue;
    const plan = planMerge(snapshot, left, now, emptied);
    plans.set(name, { plan, others: left });
    left = left.map((def) => restated(def, plan) ?? def);
    now = afterMerge(now, plan);
  }
  return plans;
}

/** All images that a merge changes or removes. */
export function touchedImages({ own, others, unused }: Merge): readonly Touched[] {
  const layers = [...own, ...others].flatMap(({ disk, top, base }) => [top, base].map(({ path }) => ({ disk, path })));
  return [...layers, ...unused];
}

/** The backing chains after a merge, for the plan of the next one. */
export function afterMerge({ tips, next, backing, missing }: Standing, merge: Merge): Standing {
  const merged = new Map([...merge.own, ...merge.others].map(({ top, base }) => [top.path, base]));
  const gone = new Set([...merged.keys(), ...merge.unused.map(({ path }) => path)]);
  const moved = (images: Standing['tips']) =>
    new Map([...images].map(([disk, image]) => [disk, merged.get(image.path) ?? image]));
  const left = [...backing].filter(([path]) => !gone.has(path));
  return {
    tips: moved(tips),
    next: moved(next),
    backing: new Map(left.map(([path, base]) => [path, merged.get(base.path) ?? base])),
    missing: new Set([...missing, ...gone]),
  };
}

function byPath(images: readonly DiskImage[]): ReadonlyMap<string, DiskImage> {
  return new Map(images.map((image) => [image.path, image]));
}
