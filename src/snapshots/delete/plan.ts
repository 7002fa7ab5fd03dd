/** Plans a delete: the snapshots, their order, and the merges. */

import type { Domain } from '../../model/domain.ts';
import { DELETE } from '../../model/flags.ts';
import { isExternal, type SnapshotDef, type SnapshotEntry } from '../../model/snapshot.ts';
import { layeredSnapshots, standingOf } from '../chains/read-chains.ts';
import { overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import { checkOwner, type DomainSnapshots } from '../domain-snapshots.ts';
import { checkServedHere } from '../image-rules.ts';
import { type PlannedMerge, planMerges } from './plan-merges.ts';
import { checkUnprotected } from './protection.ts';

/** Everything that is decided before anything is touched. */
export interface DeletePlan {
  /** What the client asked for. */
  readonly asked: { readonly name: string; readonly flags: number };
  /** The snapshots that are deleted, children first. */
  readonly doomed: readonly SnapshotEntry[];
  /** The same as they are stored; none if only metadata is deleted. */
  readonly snapshots: readonly SnapshotDef[];
  /** The merges for each external one, by name; undefined if only metadata is deleted. */
  readonly merges: ReadonlyMap<string, PlannedMerge> | undefined;
  /** The snapshot that becomes current first, if the current one is a descendant that is deleted. */
  readonly current: string | undefined;
}

/**
 * Refuses (55) protected snapshots and data of another domain's snapshot, and merges that would change other branches (84). Reads
 * only.
 */
export async function planDelete(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  asked: DeletePlan['asked'],
): Promise<DeletePlan> {
  const { name, flags } = asked;
  const doomed = selection(snapshots, name, flags);
  checkUnprotected(context, snapshots.ref, doomed);
  const current = successor(snapshots, doomed, name);
  if (flags & DELETE.METADATA_ONLY) return { asked, doomed, snapshots: [], merges: undefined, current };
  const stored: SnapshotDef[] = [];
  for (const each of doomed) {
    const snapshot = await snapshots.read(each.name);
    checkOwner(snapshots.ref, snapshot);
    checkServedHere(snapshot);
    stored.push(snapshot);
  }
  return { asked, doomed, snapshots: stored, merges: await mergesOf(context, snapshots, domain, doomed), current };
}

function selection(snapshots: DomainSnapshots, name: string, flags: number): readonly SnapshotEntry[] {
  const entry = snapshots.find(name);
  if (!(flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY))) return [entry];
  const descendants = [...snapshots.tree.descendants(name)].reverse();
  return flags & DELETE.CHILDREN ? [...descendants, entry] : descendants;
}

/** If the current snapshot is one of the descendants, the snapshot itself becomes current first, as in libvirt. */
function successor({ current }: DomainSnapshots, doomed: readonly SnapshotEntry[], name: string): string | undefined {
  if (!current || current.name === name) return undefined;
  return doomed.some((entry) => entry.name === current.name) ? name : undefined;
}

/** Reads the images once, for all that are deleted. */
async function mergesOf(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  doomed: readonly SnapshotEntry[],
): Promise<ReadonlyMap<string, PlannedMerge>> {
  if (!doomed.some(isExternal)) return new Map();
  const all = await layeredSnapshots(snapshots);
  const names = doomed.map(({ name }) => name);
  return planMerges(names, all, await standingOf(context, domain, all), await emptiedOverlays(context, all));
}

/** The overlays that an interrupted delete has merged, and not removed. */
async function emptiedOverlays({ images }: SnapshotContext, all: readonly SnapshotDef[]): Promise<ReadonlySet<string>> {
  const emptied = new Set<string>();
  for (const snapshot of all) {
    for (const { name, deleteInProgress } of snapshot.disks) {
      for (const image of deleteInProgress ? overlaysOf(snapshot, name) : []) {
        if (await images.isEmptied(image)) emptied.add(image.path);
      }
    }
  }
  return emptied;
}
