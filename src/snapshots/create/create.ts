/** virDomainSnapshotCreateXML without REDEFINE: the qemu driver's order of checks and decisions, on Xen. */

import { explained, LibvirtError } from '../../errors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import { readSnapshotRequest } from '../../xml/snapshot/read.ts';
import { sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import { checkName, checkNameLength } from '../name-rules.ts';
import { record, take } from './carry-out.ts';
import { checkMemoryFile } from './memory-file-rules.ts';
import { type CreatePlan, planOf } from './plan.ts';

/**
 * Takes a snapshot and returns its name. Everything is checked before the guest is touched; on an error nothing has
 * changed, or the message says what has. `current` of the domain becomes the parent, and the new snapshot the current one.
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
  if (flags & CREATE.NO_METADATA) checkNameLength(request.name);
  else checkName(request.name);
  return await jobs.run(domain.ref, { operation: 'create', snapshot: request.name, flags }, async (job) => {
    const now = await host.lookup(ref);
    const plan = await planOf(context, snapshots, now, request, flags);
    if (externalDisks(plan.snapshot).length > 0) checkNoManagedSave(now, 'an external snapshot');
    await checkMemoryFile(context, snapshots, plan.snapshot);
    if (flags & CREATE.REUSE_EXT) await checkReused(context, now, plan);
    await context.images.checkFree(
      request.name,
      (plan.args.disks ?? []).filter(({ external }) => external),
    );
    if (snapshots.tree.has(request.name)) throw alreadyExists(request.name);
    if (!(flags & CREATE.NO_METADATA)) context.store.check(now.ref, plan.snapshot);
    const taken = await take(context, now, plan, flags, job);
    await record(context, snapshots, now, plan, taken, flags, job);
    if (flags & CREATE.HALT && isActive(now)) await halt(context, await host.lookup(ref), request.name, job);
    return request.name;
  });
}

/** A file that the user gives as overlay is rewritten: refused where another domain stands on it, though it be off. */
export async function checkReused(context: SnapshotContext, domain: Domain, { snapshot }: CreatePlan): Promise<void> {
  const paths = externalDisks(snapshot).flatMap((disk) => overlaysOf(snapshot, disk).map(({ path }) => path));
  for (const [path, other] of await sharedImages(context, domain, paths)) {
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `cannot use existing file '${path}' as overlay of domain '${domain.ref.name}': domain '${other.ref.name}' stands on it`,
    );
  }
}

export async function halt({ host }: SnapshotContext, domain: Domain, name: string, job: OperationJob): Promise<void> {
  try {
    await job.phase('halt');
    await host.destroy(domain);
  } catch (error) {
    throw explained(error, `snapshot '${name}' of domain '${domain.ref.name}' is taken, and the domain was not halted`);
  }
}

export function alreadyExists(name: string): LibvirtError {
  return new LibvirtError('OPERATION_FAILED', `domain moment ${name} already exists`, { domain: 'DOMAIN' });
}
