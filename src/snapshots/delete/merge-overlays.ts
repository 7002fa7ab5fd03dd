/** Merges a snapshot's overlays: layer by layer, each step durable before the next, so that a repetition goes on anywhere. */

import { doneInPart } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import { mergeLayers } from '../chains/merge-layers.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { Job, MergeJob } from '../ports/jobs.ts';
import { type Merge, type PlannedMerge, restated } from './plan-merges.ts';

/**
 * Of each layer: the data, the domain's definitions, the headers and snapshots that name it, and last its file. As soon as
 * a definition may name the base, an error has the reason `done-in-part`, and names the disks that are merged.
 */
export async function mergeOverlays(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  { plan, others }: PlannedMerge,
  { signal, phase, progress }: Pick<Job, 'signal' | 'phase' | 'progress'>,
): Promise<void> {
  let now = others;
  let isBegun = false;
  const done: string[] = [];
  const job: MergeJob & Pick<Job, 'phase'> = {
    signal,
    progress,
    async phase(name) {
      isBegun ||= name === 'merged';
      await phase(name);
    },
    async merged(layer) {
      now = await followLayer(context, snapshots, domain, now, partOf(plan, layer));
      done.push(`'${layer.disk}'`);
    },
  };
  try {
    await mergeLayers(context, domain, { layers: plan.own, open: isActive(domain) }, job);
    await mergeLayers(context, domain, { layers: plan.others, open: false }, job);
    await context.images.remove(plan.unused);
  } catch (error) {
    if (!isBegun) throw error;
    throw doneInPart(error, done.length > 0 ? `merged already: disk ${done.join(', ')}` : undefined);
  }
}

/** The part of the plan that one layer is. */
function partOf({ rebased }: Merge, layer: LayerCommit): Merge {
  const onLayer = rebased.filter(({ base }) => base.path === layer.base.path);
  return { own: [layer], others: [], rebased: onLayer, unused: [] };
}

/**
 * What is on the layer is on its base from now on. Memory is tied again before any document names the base: a repetition
 * finds by the documents what is left to do. Returns the snapshots as they are then.
 */
async function followLayer(
  { host, images, memory }: SnapshotContext,
  snapshots: DomainSnapshots,
  { ref }: Domain,
  others: readonly SnapshotDef[],
  layer: Merge,
): Promise<readonly SnapshotDef[]> {
  for (const { image, base } of layer.rebased) await images.rebase(image, base);
  const rewritten = rewrittenImages(layer);
  for (const other of others) {
    const { name } = other;
    const moved = restated(other, layer);
    const disks = capturedDisks(moved ?? other);
    const path = memoryPathOf(other, memory.path(ref, name));
    const isChanged = moved !== undefined || disks.some(({ disk }) => rewritten.has(disk.pdev_path ?? ''));
    if (!isChanged || path === undefined) continue;
    await memory.check(path);
    await host.retie({ path, name, disks });
  }
  const after: SnapshotDef[] = [];
  for (const other of others) {
    const moved = restated(other, layer);
    if (moved) await snapshots.put(moved, false);
    after.push(moved ?? other);
  }
  return after;
}

/** Images whose header names another backing image now: a guest reads the same from them, but the files have changed. */
function rewrittenImages({ own, rebased }: Merge): ReadonlySet<string> {
  return new Set([...own.flatMap(({ above }) => above?.path ?? []), ...rebased.map(({ image }) => image.path)]);
}
