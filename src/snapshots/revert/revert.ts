/**
 * virDomainRevertToSnapshot. Everything that could make it fail is checked while the old domain still runs. Then, in this
 * order, the old domain ends, the disks go back, and the new domain starts from the snapshot's memory or boots.
 */

import type { SnapshotContext } from '../context.ts';
import { checkOwner, type DomainSnapshots } from '../domain-snapshots.ts';
import { checkServedHere } from '../image-rules.ts';
import { carryOutRevert } from './carry-out.ts';
import { planRevert } from './plan.ts';
import { checkPlan, checkRevert } from './rules.ts';

/** Reverts the domain to the snapshot, within a job. After an error the message says what state things are in. */
export async function revertToSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  snapshots.find(name);
  await context.jobs.run(snapshots.ref, { operation: 'revert', snapshot: name, flags }, async (job) => {
    const domain = await context.host.lookup(snapshots.ref);
    const snapshot = await snapshots.read(snapshots.find(name).name);
    checkOwner(snapshots.ref, snapshot);
    context.jobs.refuseBlockJobs(domain.ref.uuid);
    checkServedHere(snapshot);
    checkRevert(domain, snapshot, flags);
    await job.phase('validate');
    const plan = await planRevert(context, snapshots, domain, snapshot, flags);
    await checkPlan(context, domain, plan, flags);
    await carryOutRevert(context, snapshots, domain, plan, job);
  });
}
