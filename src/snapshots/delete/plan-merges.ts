/** What a delete merges, and which images it must not touch. Pure: no I/O. */

import { dirname } from 'node:path';
import type { DiskImage, LayerCommit, Move } from '../../model/disk-image.ts';
import type { DomainDefinition } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { withDiskImages } from '../../xml/domain/definition.ts';
import { chainFrom, externalDisks, overlaysOf, type Standing, stateOf } from '../chains/snapshot-images.ts';
import { disksParted, imageMissing, notOnState, severalBranches } from './merge-refusals.ts';

/** What a delete of one snapshot does to the layers. */
export interface Merge {
  /** Layers of the chain that the domain itself stands on. */
  readonly own: readonly LayerCommit[];
  /** Layers of other branches, which nobody has open. */
  readonly others: readonly LayerCommit[];
  /** Overlays of other branches on a merged one: their backing image is the one beneath it now. */
  readonly rebased: readonly { readonly image: DiskImage; readonly base: DiskImage }[];
  /** Overlays that nothing stands on. */
  readonly unused: readonly DiskImage[];
}

/**
 * What deleting `snapshot` does, given all the domain's other snapshots. Refuses (84) where more than one branch stands
 * on its image, the domain's own included: merging one of them would change the others.
 */
export function planMerge(snapshot: SnapshotDef, others: readonly SnapshotDef[], standing: Standing): Merge {
  const parts = externalDisks(snapshot).map((disk) => mergeOfDisk(snapshot, disk, others, standing));
  return {
    own: parts.flatMap(({ own }) => own),
    others: parts.flatMap((part) => part.others),
    rebased: parts.flatMap(({ rebased }) => rebased),
    unused: parts.flatMap(({ unused }) => unused),
  };
}

function mergeOfDisk(snapshot: SnapshotDef, disk: string, others: readonly SnapshotDef[], standing: Standing): Merge {
  const tip = standing.tips.get(disk);
  const own = chainFrom(tip, standing);
  const overlays = overlaysOf(snapshot, disk);
  const stands = [standing.next.get(disk), ...others.map((other) => stateOf(other, disk))];
  const needed = byPath([...own, ...stands.flatMap((image) => chainFrom(image, standing))]);
  const unused = overlays.filter(({ path }) => !needed.has(path));
  const nothing: Merge = { own: [], others: [], rebased: [], unused };

  const base = stateOf(snapshot, disk);
  const isParted = !haveCommon(own, [...chainFrom(base, standing), ...overlays]);
  const doubtful = isParted ? overlays : tip?.path === base?.path ? unused : [];
  const left = doubtful.find(({ path }) => standing.backing.has(path));
  if (left) throw disksParted(snapshot, disk, tip, left);
  const isOnState = ({ path }: DiskImage): boolean => !!base && standing.backing.get(path)?.path === base.path;
  const foreign = unused.find((image) => !standing.missing.has(image.path) && !isOnState(image));
  if (foreign) throw notOnState(snapshot, disk, foreign);
  if (!base) return nothing;
  // It is the state of another snapshot, too, and has to stay as it is.
  if (others.some((other) => externalDisks(other).includes(disk) && stateOf(other, disk)?.path === base.path)) {
    return nothing;
  }
  // An overlay of ours whose file is gone was merged by a delete that did not come to its end.
  const isOurs = ({ path }: DiskImage): boolean => overlays.some((overlay) => overlay.path === path);
  const isMerged = (image: DiskImage): boolean => !standing.backing.has(image.path) && isOurs(image);
  const standsOn = (image: DiskImage, on: DiskImage): boolean => standing.backing.get(image.path)?.path === on.path;
  const tops = [...needed.values()].filter((image) => standsOn(image, base) || isMerged(image));
  // Once merged, the layer above stands on the base; a delete that was interrupted may have come no further.
  const isBegun = snapshot.disks.some(({ name, deleteInProgress }) => name === disk && deleteInProgress);
  const merged = isBegun && tops.length > 1 ? tops.find(isOurs) : undefined;
  const top = merged ?? tops[0];
  if (!top) return nothing;
  // Where its folder may only be unmounted, or the base is gone as well, nobody can tell.
  const isElsewhere = standing.missing.has(base.path) || dirname(top.path) !== dirname(base.path);
  if (isMerged(top) && isElsewhere) throw imageMissing(snapshot, disk, `overlay '${top.path}'`);
  if (standing.missing.has(base.path)) throw imageMissing(snapshot, disk, `image '${base.path}'`);
  if (!merged && (tops.length > 1 || (tip?.path === base.path && !isMerged(top)))) {
    throw severalBranches(snapshot, disk, base);
  }

  const onBase = merged ? own.findIndex(({ path }) => path === base.path) : -1;
  const place = onBase > 0 ? onBase : own.findIndex(({ path }) => path === top.path);
  const above = own[place - 1];
  const layer: LayerCommit = { disk, top, base, ...(above && { above }) };
  // Also what nobody needs yet: it goes with its own snapshot, and has to be readable until then.
  const known = byPath([...needed.values(), ...others.flatMap((other) => overlaysOf(other, disk))]);
  const rebased = [...known.values()].filter((image) => standsOn(image, top) && image.path !== above?.path);
  return {
    own: place >= 0 ? [layer] : [],
    others: place >= 0 ? [] : [layer],
    rebased: rebased.map((image) => ({ image, base })),
    unused,
  };
}

function haveCommon(some: readonly DiskImage[], others: readonly DiskImage[]): boolean {
  return some.some(({ path }) => others.some((other) => other.path === path));
}

/** A snapshot that stood on a merged overlay stands on the image beneath it; undefined where it stood on none. */
export function restated(snapshot: SnapshotDef, { own, others }: Merge): SnapshotDef | undefined {
  const merged = [...own, ...others];
  if (!merged.some(({ disk, top }) => stateOf(snapshot, disk)?.path === top.path)) return undefined;
  const moved = (definition: DomainDefinition): DomainDefinition => {
    const concerned = merged.filter(({ disk, top }) => definition.images.get(disk)?.path === top.path);
    return withDiskImages(definition, new Map(concerned.map(({ disk, base }) => [disk, base])));
  };
  const { domain, inactiveDomain } = snapshot;
  return {
    ...snapshot,
    ...(domain && { domain: moved(domain) }),
    ...(inactiveDomain && { inactiveDomain: moved(inactiveDomain) }),
  };
}

/** A merge, and the snapshots that there are besides the one it deletes, as they are before it. */
export interface PlannedMerge {
  readonly plan: Merge;
  readonly others: readonly SnapshotDef[];
}

/**
 * What deleting snapshots one after the other does, by name, for those that have layers: all of it goes through on paper
 * first, so that no merge is done where a later one would be refused. `all`: the domain's snapshots.
 */
export function planMerges(
  doomed: readonly string[],
  all: readonly SnapshotDef[],
  standing: Standing,
): ReadonlyMap<string, PlannedMerge> {
  const plans = new Map<string, PlannedMerge>();
  let left = all;
  let now = standing;
  for (const name of doomed) {
    const snapshot = left.find((def) => def.name === name);
    left = left.filter((def) => def.name !== name);
    if (!snapshot || externalDisks(snapshot).length === 0) continue;
    const plan = planMerge(snapshot, left, now);
    plans.set(name, { plan, others: left });
    left = left.map((def) => restated(def, plan) ?? def);
    now = afterMerge(now, plan);
  }
  return plans;
}

/** Paths of all images that a merge changes or removes. */
export function touchedImages({ own, others, unused }: Merge): readonly string[] {
  const layers = [...own, ...others].flatMap(({ top, base }) => [top, base]);
  return [...layers, ...unused].map(({ path }) => path);
}

/** Disks that stand on a merged layer stand on the image beneath it from then on. */
export function movesOff(merged: readonly LayerCommit[]): readonly Move[] {
  return merged.map(({ disk, top, base }) => ({ disk, from: top, to: base }));
}

/** How the images stand once a merge is done: for the plan of the next one. */
export function afterMerge({ tips, next, backing, missing }: Standing, merge: Merge): Standing {
  const merged = new Map([...merge.own, ...merge.others].map(({ top, base }) => [top.path, base]));
  const gone = new Set([...merged.keys(), ...merge.unused.map(({ path }) => path)]);
  const moved = (images: Standing['tips']) =>
    new Map([...images].map(([disk, image]) => [disk, merged.get(image.path) ?? image]));
  const left = [...backing].filter(([path]) => !gone.has(path));
  return {
    tips: moved(tips),
    next: moved(next),
    backing: new Map(left.map(([path, beneath]) => [path, merged.get(beneath.path) ?? beneath])),
    missing: new Set([...missing, ...gone]),
  };
}

function byPath(images: readonly DiskImage[]): ReadonlyMap<string, DiskImage> {
  return new Map(images.map((image) => [image.path, image]));
}
