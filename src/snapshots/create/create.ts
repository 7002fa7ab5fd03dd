/** virDomainSnapshotCreateXML without REDEFINE: the qemu driver's order of checks and decisions, on Xen. */

import { LibvirtError } from '../../errors.ts';
import { isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import { readSnapshotRequest } from '../../xml/snapshot/read.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { checkInternalName, checkName } from '../name-rules.ts';
import { carryOutCreate } from './carry-out.ts';
import { removeGivenUpMemory } from './given-up-memory.ts';
import { planCreate } from './plan.ts';
import { checkCarriers, checkCreate, checkHonoured, checkRequest } from './rules.ts';

/**
 * Takes a snapshot and returns its name. Everything is checked before the guest is touched; after an error nothing has
 * changed, or the message says what has. The current snapshot becomes the parent, and the new one the current snapshot.
 */
export async function createSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  xml: string,
  flags: number,
): Promise<string> {
  const { host, jobs } = context;
  const { ref } = snapshots;
  const domain = await host.lookup(ref);
  if (flags & CREATE.HALT && !domain.persistent) {
    throw new LibvirtError('OPERATION_INVALID', 'cannot halt after transient domain snapshot');
  }
  const offline = (flags & CREATE.DISK_ONLY) !== 0 || !isActive(domain);
  const request = await readSnapshotRequest(xml, { offline, now: BigInt(Math.floor(Date.now() / 1000)) });
  checkHonoured(request);
  if (flags & CREATE.NO_METADATA) checkInternalName(request.name);
  else checkName(request.name);
  return await jobs.run(domain.ref, { operation: 'create', snapshot: request.name, flags }, async (job) => {
    // The domain may have changed while this job waited for its turn.
    const now = await host.lookup(ref);
    checkRequest(now, request, flags);
    const plan = await planCreate(context, snapshots, now, request, flags);
    await checkCreate(context, snapshots, now, plan, flags);
    // Before the space for this one is asked for.
    await removeGivenUpMemory(context, snapshots, request.name);
    await checkCarriers(context, now, plan);
    await carryOutCreate(context, snapshots, now, plan, flags, job);
    return request.name;
  });
}
