/** virDomainSnapshotDelete: one snapshot, it and all its descendants, or only these. */

import { DELETE } from '../../model/flags.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import { carryOutDelete } from './carry-out.ts';
import { planDelete } from './plan.ts';
import { checkDelete } from './rules.ts';

/** The part of the job that a delete uses. */
type DeleteJob = Pick<OperationJob, 'signal' | 'phase' | 'progress' | 'commit'>;

/**
 * Data goes before metadata, leaves before their parents: whatever stops it, a snapshot that is still listed is
 * complete or can be deleted again. METADATA_ONLY keeps all data where it is.
 */
export async function deleteSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  snapshots.find(name);
  await context.jobs.run(snapshots.ref, { operation: 'delete', snapshot: name, flags }, (job) =>
    deleteUnlocked(context, snapshots, { name, flags }, job),
  );
}

/** deleteSnapshot without the domain's lock, for callers that hold it already. */
export async function deleteUnlocked(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  asked: { readonly name: string; readonly flags: number },
  job: DeleteJob,
): Promise<void> {
  const domain = await context.host.lookup(snapshots.ref);
  if ((asked.flags & DELETE.METADATA_ONLY) === 0) context.jobs.refuseBlockJobs(domain.ref.uuid);
  const plan = await planDelete(context, snapshots, domain, asked);
  await checkDelete(context, domain, plan);
  await carryOutDelete(context, snapshots, domain, plan, job);
}
