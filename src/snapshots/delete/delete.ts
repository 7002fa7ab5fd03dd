/** virDomainSnapshotDelete: one snapshot, or it and all beneath it, or only those beneath it. */

import { explained, throwIfCancelled } from '../../errors.ts';
import type { Domain } from '../../model/domain.ts';
import { DELETE } from '../../model/flags.ts';
import { isExternal, type SnapshotEntry } from '../../model/snapshot.ts';
import { layeredSnapshots, standingOf } from '../chains/read-chains.ts';
import { checkNotShared } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import { checkOwner, type DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import { deletedInPart, discardData } from './carry-out.ts';
import { type PlannedMerge, planMerges, touchedImages } from './plan.ts';

/**
 * Data goes before metadata, leaves before their parents: whatever stops it, what is still listed is complete or can be
 * deleted again. METADATA_ONLY leaves all data where it is.
 */
export async function deleteSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  snapshots.find(name);
  await context.jobs.run(snapshots.ref, { operation: 'delete', snapshot: name, flags }, (job) =>
    deleteNow(context, snapshots, { name, flags }, job),
  );
}

/** The work of `deleteSnapshot`, for who has the domain to himself already. */
export async function deleteNow(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  { name, flags }: { readonly name: string; readonly flags: number },
  job: Pick<OperationJob, 'signal' | 'phase' | 'progress' | 'commit'>,
): Promise<void> {
  const metadataOnly = (flags & DELETE.METADATA_ONLY) !== 0;
  const domain = await context.host.lookup(snapshots.ref);
  const doomed = selection(snapshots, name, flags);
  if (!metadataOnly) for (const each of doomed) checkOwner(snapshots.ref, await snapshots.read(each.name));
  const merges = metadataOnly ? undefined : await mergesOf(context, snapshots, domain, doomed);
  await job.phase('delete');
  await moveCurrent(snapshots, doomed, name, flags);
  for (const [gone, entry] of doomed.entries()) {
    checkCancelled(job, snapshots.ref.name, { gone, all: doomed.length, entry });
    if (merges) {
      const snapshot = await snapshots.read(entry.name);
      await discardData(context, snapshots, { domain, snapshot, merge: merges.get(entry.name) }, job);
    }
    await snapshots.remove(entry.name).catch((error) => {
      throw metadataOnly ? error : deletedInPart(error, domain, entry.name);
    });
  }
}

/**
 * Between two snapshots nothing is half gone: there a delete can be cancelled, until the last one goes. Layers of that
 * one may still be left unmerged while they are being merged.
 */
function checkCancelled(
  job: Pick<OperationJob, 'signal' | 'commit'>,
  domain: string,
  { gone, all, entry }: { readonly gone: number; readonly all: number; readonly entry: SnapshotEntry },
): void {
  try {
    if (gone === all - 1 && !isExternal(entry)) job.commit();
    else throwIfCancelled(job.signal);
  } catch (error) {
    throw explained(
      error,
      `${gone} of ${all} snapshots of domain '${domain}' are deleted; the others are as they were`,
    );
  }
}

/** What goes, children first. */
function selection(snapshots: DomainSnapshots, name: string, flags: number): readonly SnapshotEntry[] {
  const entry = snapshots.find(name);
  if (!(flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY))) return [entry];
  const beneath = [...snapshots.tree.descendants(name)].reverse();
  return flags & DELETE.CHILDREN ? [...beneath, entry] : beneath;
}

/** Reads the images once, for all that go. */
async function mergesOf(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  doomed: readonly SnapshotEntry[],
): Promise<ReadonlyMap<string, PlannedMerge>> {
  if (!doomed.some(isExternal)) return new Map();
  const all = await layeredSnapshots(snapshots);
  const names = doomed.map(({ name }) => name);
  const merges = planMerges(names, all, await standingOf(context, domain, all));
  const plans = [...merges.values()].map(({ plan }) => plan);
  if (plans.some(({ own, others }) => own.length + others.length > 0)) checkNoManagedSave(domain, 'merging layers');
  await checkNotShared(context, domain, plans.flatMap(touchedImages));
  return merges;
}

/** A current snapshot among those that go with children hands over first: to the snapshot itself, as libvirt does. */
async function moveCurrent(
  snapshots: DomainSnapshots,
  doomed: readonly SnapshotEntry[],
  name: string,
  flags: number,
): Promise<void> {
  const { current } = snapshots;
  if (!(flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY)) || !current || current.name === name) return;
  if (doomed.some((entry) => entry.name === current.name)) await snapshots.setCurrent(name);
}
