/**
 * Carries out a delete: of each snapshot the data (inside images, its overlays, its memory image), then the metadata.
 */

import { explained, type LibvirtError, throwIfCancelled } from '../../errors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { isExternal, type SnapshotDef, type SnapshotEntry } from '../../model/snapshot.ts';
import { internalDisks } from '../../xml/snapshot/libxl-args.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import type { Job } from '../ports/jobs.ts';
import { whileMarked } from './in-progress-mark.ts';
import { mergeOverlays } from './merge-overlays.ts';
import type { DeletePlan } from './plan.ts';
import type { PlannedMerge } from './plan-merges.ts';
import { checkSameImages } from './rules.ts';

/** Deletes the planned snapshots one after the other. */
export async function carryOutDelete(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  { doomed, merges, current }: DeletePlan,
  job: Pick<OperationJob, 'signal' | 'phase' | 'progress' | 'commit'>,
): Promise<void> {
  await job.phase('delete');
  if (current !== undefined) await snapshots.setCurrent(current);
  for (const [gone, entry] of doomed.entries()) {
    checkCancelled(job, snapshots.ref.name, { gone, all: doomed.length, entry });
    if (merges) {
      const snapshot = await snapshots.read(entry.name);
      await discardData(context, snapshots, { domain, snapshot, merge: merges.get(entry.name) }, job);
    }
    await snapshots.remove(entry.name).catch((error) => {
      throw merges ? deletedInPart(error, domain, entry.name) : error;
    });
  }
}

/**
 * Between two snapshots nothing is half deleted: there a delete can be cancelled, until the last one goes. If that one
 * has overlays, merging them can still be cancelled.
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

/** The part of the job that work on the disks uses. */
type DiskJob = Pick<Job, 'signal' | 'phase' | 'progress'>;

interface Discarded {
  readonly domain: Domain;
  readonly snapshot: SnapshotDef;
  /** Undefined for a snapshot without overlays. */
  readonly merge: PlannedMerge | undefined;
}

/**
 * Idempotent: missing data is not an error. Refuses (84) if the domain runs on other images than those the internal
 * snapshots are in, since its device model does not have these open. The definitions of the domain and of its other
 * snapshots follow each layer that is merged.
 */
async function discardData(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  { domain, snapshot, merge }: Discarded,
  job: DiskJob,
): Promise<void> {
  const { host, images, memory } = context;
  const internal = internalDisks(snapshot);
  if (internal.length > 0) {
    if (isActive(domain)) {
      checkSameImages(snapshot.name, internal, await host.definition(domain, 'live'));
      await host.deleteDiskSnapshots(domain, snapshot.name, internal);
    } else {
      await images.delete(snapshot.name, internal);
    }
  }
  if (merge) {
    const inPart = (error: unknown) => deletedInPart(error, domain, snapshot.name);
    await whileMarked(
      snapshots,
      snapshot,
      merge.plan,
      () => mergeOverlays(context, snapshots, domain, merge, job),
      inPart,
    );
  }
  try {
    if (snapshot.memory.location === 'external') {
      const { file } = snapshot.memory;
      if (!isNamedElsewhere(snapshots, snapshot, file)) await memory.removeFile(file);
    } else await memory.remove(domain.ref, snapshot.name);
  } catch (error) {
    throw deletedInPart(error, domain, snapshot.name);
  }
}

/** A snapshot that was cloned or redefined may share its memory with another one. */
function isNamedElsewhere({ tree }: DomainSnapshots, { name }: SnapshotDef, file: string): boolean {
  return tree
    .all()
    .some(({ name: other, memory }) => other !== name && memory.location === 'external' && memory.file === file);
}

/** The snapshot is still listed, and cannot be reverted to. */
function deletedInPart(error: unknown, { ref }: Domain, name: string): LibvirtError {
  return explained(error, `snapshot '${name}' of domain '${ref.name}' is deleted in part: run snapshot-delete again`);
}
