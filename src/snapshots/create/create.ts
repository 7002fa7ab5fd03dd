/** virDomainSnapshotCreateXML without REDEFINE: the qemu driver's order of checks and decisions, on Xen. */

import { LibvirtError } from '../../errors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { SnapshotRequest } from '../../model/snapshot.ts';
import { readSnapshotRequest } from '../../xml/snapshot/read.ts';
import { writeSnapshot } from '../../xml/snapshot/write.ts';
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
  const { ref, request } = await requested(context, snapshots, xml, flags);
  return await context.jobs.run(ref, { operation: 'create', snapshot: request.name, flags }, async (job) => {
    const asked = await planned(context, snapshots, request, flags);
    const { domain, plan } = asked;
    // Before the space for this one is asked for.
    await removeGivenUpMemory(context, snapshots, request.name);
    await checkCarriers(asked);
    await carryOutCreate(context, snapshots, domain, plan, flags, job);
    return request.name;
  });
}

/**
 * Refuses what `createSnapshot` would refuse, and returns the document that it would store, without passwords. Reads only, and
 * waits for a running job as a create does.
 */
export async function checkCreation(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  xml: string,
  flags: number,
): Promise<string> {
  const { ref, request } = await requested(context, snapshots, xml, flags);
  return await context.jobs.exclusive(ref, async () => {
    const asked = await planned(context, snapshots, request, flags);
    await checkCarriers(asked);
    return writeSnapshot(asked.plan.snapshot, { secure: false });
  });
}

/** Reads the document, for the domain as it is before its turn comes. */
async function requested(
  { host }: SnapshotContext,
  { ref }: DomainSnapshots,
  xml: string,
  flags: number,
): Promise<Pick<Domain, 'ref'> & { readonly request: SnapshotRequest }> {
  const domain = await host.lookup(ref);
  if (flags & CREATE.HALT && !domain.persistent) {
    throw new LibvirtError('OPERATION_INVALID', 'cannot halt after transient domain snapshot');
  }
  const offline = (flags & CREATE.DISK_ONLY) !== 0 || !isActive(domain);
  const request = await readSnapshotRequest(xml, { offline, now: BigInt(Math.floor(Date.now() / 1000)) });
  checkHonoured(request);
  if (flags & CREATE.NO_METADATA) checkInternalName(request.name);
  else checkName(request.name);
  return { ref: domain.ref, request };
}

/** Plans for the domain as it is now: it may have changed while this waited for its turn. */
async function planned(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  request: SnapshotRequest,
  flags: number,
): Promise<Parameters<typeof checkCreate>[0]> {
  const domain = await context.host.lookup(snapshots.ref);
  checkRequest(domain, request, flags);
  const plan = await planCreate(context, snapshots, domain, request, flags);
  const asked = { context, snapshots, domain, plan, flags };
  await checkCreate(asked);
  return asked;
}
