/**
 * Everything that a delete needs once it has begun, asked before anything is touched, besides the refusals of the plan:
 * a delete that cannot succeed changes nothing. docs/semantics.md has the same list.
 */

import { LibvirtError } from '../../errors.ts';
import { requireDescriptors } from '../../files/descriptors.ts';
import { type Domain, type DomainDefinition, isActive } from '../../model/domain.ts';
import type { InternalSnapshot, LibxlDiskSnapshot } from '../../model/libxl.ts';
import { memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';
import { internalDisks } from '../../xml/snapshot/libxl-args.ts';
import { openImages } from '../chains/files.ts';
import { checkOnlyOwner } from '../chains/shared-data.ts';
import { checkNotShared } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import { checkExternalMemory } from './memory-rules.ts';
import type { DeletePlan } from './plan.ts';
import { type Merge, movedBy, type PlannedMerge, restated, touchedImages } from './plan-merges.ts';

/** What the list is asked with. */
interface Asked {
  readonly context: SnapshotContext;
  readonly domain: Domain;
  /** The definition that it runs with; undefined if it is off. */
  readonly live: DomainDefinition | undefined;
  /** The snapshots that are deleted, as they are now, in the order in which they go. */
  readonly snapshots: readonly SnapshotDef[];
  readonly merges: ReadonlyMap<string, PlannedMerge>;
  /** The plans of the merges. */
  readonly plans: readonly Merge[];
  /** Paths of the images that the domain itself has open. */
  readonly open: ReadonlySet<string>;
}

/** In the order in which they are asked. Each reads only. */
export const DELETE_NEEDS: Readonly<Record<string, (asked: Asked) => Promise<void>>> = {
  descriptors: requireDescriptors,
  'internal snapshots': checkInternal,

  async 'new active images'({ context, domain, plans }) {
    if (plans.some(({ own, others }) => own.length + others.length > 0)) await context.host.checkSetDisks(domain);
  },

  async 'managed save'({ domain, plans }) {
    if (plans.some(({ own, others }) => own.length + others.length > 0)) checkNoManagedSave(domain, 'merging overlays');
  },

  async 'other users'({ context, domain, snapshots, plans }) {
    await checkNotShared(context, domain, plans.flatMap(touchedImages));
    await checkOnlyOwner(context, domain, snapshots);
  },

  overlays: checkMerges,

  async 'other branches'({ context, plans, open }) {
    const images = plans.flatMap(({ rebased }) => rebased.map(({ image }) => image));
    await context.images.checkRebase(images, open);
  },

  async 'unused overlays'({ context, plans, open }) {
    const unused = plans.flatMap((plan) => plan.unused);
    await context.images.checkRemoval(unused, open);
  },

  async 'memory images'({ context, domain, snapshots }) {
    const { memory } = context;
    for (const snapshot of snapshots) {
      await checkExternalMemory(context, domain, snapshot);
      const path = memoryPathOf(snapshot, memory.path(domain.ref, snapshot.name));
      if (path !== undefined) await memory.checkRemoval(path);
    }
  },
};

/** Refuses (55, 84) what would stop the delete when a part of it is done. Nothing is asked for metadata. Reads only. */
export async function checkDelete(context: SnapshotContext, domain: Domain, plan: DeletePlan): Promise<void> {
  const { snapshots, merges } = plan;
  if (!merges) return;
  const plans = [...merges.values()].map((merge) => merge.plan);
  const live = isActive(domain) ? await context.host.definition(domain, 'live') : undefined;
  const open = await openImages(context, domain, live?.images.values() ?? []);
  const asked = { context, domain, live, snapshots, merges, plans, open };
  for (const check of Object.values(DELETE_NEEDS)) await check(asked);
}

/** Merges that come first change the images that the domain runs on, and where later snapshots are. */
async function checkInternal({ context, live, snapshots, merges, open }: Asked): Promise<void> {
  const doomed: InternalSnapshot[] = [];
  let running = live;
  let left = snapshots;
  for (const { name } of snapshots) {
    const [snapshot, ...later] = left;
    const internal = snapshot ? internalDisks(snapshot) : [];
    if (running) checkSameImages(name, internal, running);
    doomed.push(...internal.map(({ disk }) => ({ name, disk })));
    const plan = merges.get(name)?.plan;
    if (running && plan) running = movedBy(plan, running);
    left = plan ? later.map((each) => restated(each, plan) ?? each) : later;
  }
  if (doomed.length > 0) await context.images.checkDelete(doomed, open);
}

/** Refuses (84, in libvirt's words) a domain that runs on other images than the snapshot is in: its device model has these closed. */
export function checkSameImages(
  name: string,
  internal: readonly LibxlDiskSnapshot[],
  { disks }: Pick<DomainDefinition, 'disks'>,
): void {
  for (const { disk } of internal) {
    if (disk.pdev_path === disks.find(({ target }) => target === disk.vdev)?.path) continue;
    throw new LibvirtError(
      'OPERATION_UNSUPPORTED',
      `disk image '${disk.pdev_path ?? ''}' for internal snapshot '${name}' is not the same as disk image currently used by VM`,
    );
  }
}

async function checkMerges({ context: { host, images }, domain, plans, open }: Asked): Promise<void> {
  const layers = plans.flatMap(({ own, others }) => [...own, ...others]);
  if (layers.length === 0) return;
  await images.checkMerge(layers, open);
  if (!isActive(domain)) return;
  // Layers of a later plan are on others by then than the device model has them on now.
  const changed = new Set<string>();
  for (const plan of plans) {
    const paths = plan.own.flatMap(({ top, base, above }) => [top.path, base.path, ...(above ? [above.path] : [])]);
    if (!paths.some((path) => changed.has(path))) await host.checkCommit(domain, plan.own);
    for (const path of paths) changed.add(path);
  }
}
