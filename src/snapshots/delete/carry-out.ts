/**
 * Carries out a delete: of each snapshot the data (inside images, its overlays, its memory image), then the metadata.
 */

import { doneInPart, explained, hasReason, throwIfCancelled } from '../../errors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import { isExternal, type SnapshotDef, type SnapshotEntry } from '../../model/snapshot.ts';
import { internalDisks } from '../../xml/snapshot/libxl-args.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import type { Job } from '../ports/jobs.ts';
import { whileMarked } from './in-progress-mark.ts';
import { isNamedElsewhere } from './memory-rules.ts';
import { mergeOverlays } from './merge-overlays.ts';
import type { DeletePlan } from './plan.ts';
import type { PlannedMerge } from './plan-merges.ts';
import { checkSameImages } from './rules.ts';

/** Deletes the planned snapshots one after the other. An error says what is deleted, and which command deletes the rest. */
export async function carryOutDelete(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  { asked, doomed, merges, current }: DeletePlan,
  job: Pick<OperationJob, 'signal' | 'phase' | 'progress' | 'commit'>,
): Promise<void> {
  await job.phase('delete');
  if (current !== undefined) await snapshots.setCurrent(current);
  for (const [gone, entry] of doomed.entries()) {
    try {
      checkCancelled(job, { isLast: gone === doomed.length - 1, entry });
      if (merges) {
        const snapshot = await snapshots.read(entry.name);
        await discardData(context, snapshots, { domain, snapshot, merge: merges.get(entry.name) }, job);
      }
      await snapshots.remove(entry.name).catch((error) => {
        throw merges ? doneInPart(error) : error;
      });
    } catch (error) {
      const again = virshCommand('delete', { domain: domain.ref, snapshot: asked.name, flags: asked.flags });
      throw explainedDelete(error, domain, { gone, all: doomed.length, name: entry.name, again });
    }
  }
}

/** A snapshot that is deleted in part is still listed, and cannot be reverted to. */
function explainedDelete(
  error: unknown,
  { ref }: Domain,
  at: { readonly gone: number; readonly all: number; readonly name: string; readonly again: string },
): unknown {
  const { gone, all, name, again } = at;
  const isInPart = hasReason(error, 'done-in-part');
  if (all === 1 && !isInPart) return error;
  const whole = all > 1 ? `${gone} of ${all} snapshots of domain '${ref.name}' are deleted; ` : '';
  const half = `snapshot '${name}' of domain '${ref.name}' is deleted in part; to complete that: ${again}`;
  return explained(error, `${whole}${isInPart ? half : 'the others are as they were'}`);
}

/**
 * Between two snapshots nothing is half deleted: there a delete can be cancelled, until the last one goes. If that one
 * has overlays, merging them can still be cancelled.
 */
function checkCancelled(
  job: Pick<OperationJob, 'signal' | 'commit'>,
  { isLast, entry }: { readonly isLast: boolean; readonly entry: SnapshotEntry },
): void {
  if (isLast && !isExternal(entry)) job.commit();
  else throwIfCancelled(job.signal);
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
  const { memory } = context;
  const internal = internalDisks(snapshot);
  if (internal.length > 0) await deleteInternal(context, domain, snapshot.name, internal);
  try {
    if (merge) {
      await whileMarked(snapshots, snapshot, merge.plan, () => mergeOverlays(context, snapshots, domain, merge, job));
    }
  } catch (error) {
    throw internal.length > 0 ? doneInPart(error) : error;
  }
  try {
    if (snapshot.memory.location === 'external') {
      const { file } = snapshot.memory;
      if (!(await isNamedElsewhere(context, snapshots, snapshot, file))) await memory.removeFile(file);
    } else await memory.remove(domain.ref, snapshot.name);
  } catch (error) {
    throw doneInPart(error);
  }
}

async function deleteInternal(
  { host, images }: SnapshotContext,
  domain: Domain,
  name: string,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  if (!isActive(domain)) return await images.delete(name, disks);
  checkSameImages(name, disks, await host.definition(domain, 'live'));
  await host.deleteDiskSnapshots(domain, name, disks);
}
