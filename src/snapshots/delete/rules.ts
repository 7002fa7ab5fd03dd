/** Refuses deletes before anything is touched, besides the refusals of the plan. */

import type { Domain } from '../../model/domain.ts';
import { checkNotShared } from '../chains/shared-images.ts';
import type { Looking } from '../context.ts';
import { checkNoManagedSave } from '../managed-save-rule.ts';
import type { DeletePlan } from './plan.ts';
import { touchedImages } from './plan-merges.ts';

/**
 * Refuses (55) merges while a managed save waits, and merges or removals of images that another domain uses. Reads
 * only.
 */
export async function checkDelete(context: Looking, domain: Domain, { merges }: DeletePlan): Promise<void> {
  const plans = [...(merges?.values() ?? [])].map(({ plan }) => plan);
  if (plans.some(({ own, others }) => own.length + others.length > 0)) checkNoManagedSave(domain, 'merging overlays');
  await checkNotShared(context, domain, plans.flatMap(touchedImages));
}
