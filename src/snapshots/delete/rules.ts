/** Refuses deletes before anything is touched, besides the refusals of the plan. */

import { type Domain, isActive } from '../../model/domain.ts';
import { checkNotShared } from '../chains/shared-images.ts';
import type { Looking } from '../context.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import type { DeletePlan } from './plan.ts';
import { type Merge, touchedImages } from './plan-merges.ts';

/**
 * Refuses (55) merges while a managed save waits, merges or removals of images that another domain uses, and whatever would
 * stop one of the merges when others are done. Reads only.
 */
export async function checkDelete(context: Looking, domain: Domain, { merges }: DeletePlan): Promise<void> {
  const plans = [...(merges?.values() ?? [])].map(({ plan }) => plan);
  if (plans.some(({ own, others }) => own.length + others.length > 0)) checkNoManagedSave(domain, 'merging overlays');
  await checkNotShared(context, domain, plans.flatMap(touchedImages));
  await checkMerges(context, domain, plans);
}

async function checkMerges({ host, images }: Looking, domain: Domain, plans: readonly Merge[]): Promise<void> {
  const layers = plans.flatMap(({ own, others }) => [...own, ...others]);
  if (layers.length === 0) return;
  await images.checkMerge(layers, await openImages({ host, images }, domain));
  if (!isActive(domain)) return;
  // Layers of a later plan are on others by then than the device model has them on now.
  const changed = new Set<string>();
  for (const plan of plans) {
    const paths = plan.own.flatMap(({ top, base, above }) => [top.path, base.path, ...(above ? [above.path] : [])]);
    if (!paths.some((path) => changed.has(path))) await host.checkCommit(domain, plan.own);
    for (const path of paths) changed.add(path);
  }
}

/** Paths of the images that the domain itself has open. */
async function openImages(
  { host, images }: Pick<Looking, 'host' | 'images'>,
  domain: Domain,
): Promise<ReadonlySet<string>> {
  if (!isActive(domain)) return new Set();
  const tips = [...(await host.definition(domain, 'live')).images.values()];
  const chains = await images.chains(tips);
  return new Set([...tips, ...chains.flatMap(({ layers }) => layers)].map(({ path }) => path));
}
