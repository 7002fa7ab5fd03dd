/**
 * virDomainRevertToSnapshot. Everything that could make it fail is checked while the old domain still runs; then, in
 * this order, the old domain ends, the disks go back, the new domain starts from the snapshot's memory or from nothing.
 */

import { type Domain, isActive } from '../../model/domain.ts';
import { diskImages } from '../../xml/domain/images.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import type { Looking, SnapshotContext } from '../context.ts';
import { checkOwner, type DomainSnapshots } from '../domain-snapshots.ts';
import { carryOut, makeOverlays } from './carry-out.ts';
import { type Plan, planRevert } from './plan.ts';
import { checkLayers, checkRevert } from './rules.ts';

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
    checkRevert(domain, snapshot, flags);
    await job.phase('validate');
    const plan = await planRevert(context, snapshots, domain, snapshot, flags);
    const open = await openImages(context, domain);
    await validate(context, domain, plan, open);
    await checkLayers(context, snapshot, plan.others, flags);
    // Its document will name the new overlays: whether it can be written is seen while the guest still runs.
    if (plan.disks.overlays.length > 0) await snapshots.put(snapshot, false);
    await makeOverlays(context, plan, open, job);
    await carryOut(context, snapshots, domain, plan, job);
  });
}

/** Reads everything that will be needed. Changes nothing. */
export async function validate(
  { host, images, memory }: SnapshotContext,
  domain: Domain,
  plan: Plan,
  open: ReadonlySet<string>,
): Promise<void> {
  const { snapshot, target, definition } = plan;
  await images.check(snapshot.name, capturedDisks(snapshot), open);
  await images.checkFree(snapshot.name, plan.disks.overlays);
  if (target.kind !== 'restore') return;
  await memory.check(target.memoryPath);
  const saved = { path: target.memoryPath, name: snapshot.name, disks: capturedDisks(snapshot) };
  await host.checkRestore(domain, saved, definition);
}

/**
 * Images that the domain has open itself: they are free once it has ended. Those beneath an overlay, too: nobody else
 * writes to them meanwhile, and after a merge that failed its device model may still hold them for writing.
 */
export async function openImages({ host, images }: Looking, domain: Domain): Promise<ReadonlySet<string>> {
  if (!isActive(domain)) return new Set();
  const open = new Set<string>();
  for (const tip of diskImages(await host.definition(domain, 'live')).values()) {
    for (const { path } of await images.chain(tip).catch(() => [tip])) open.add(path);
  }
  return open;
}
