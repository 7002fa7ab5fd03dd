/** Merges overlays of a domain, so that at any time every definition names images that are there, and right. */

import { type LayerCommit, movesOff } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import type { Looking } from '../context.ts';
import type { Job, MergeJob } from '../ports/jobs.ts';
import { moveDisks } from './move-disks.ts';

/**
 * One layer after the other, in the phases of a delete: its data goes into the base, both definitions follow, then what
 * `job.merged` does, and last the overlay is removed. Idempotent: after an interruption the same call completes it. `open`: the domain's device model has
 * the images open; else nobody has.
 */
export async function mergeLayers(
  { host, images }: Looking,
  domain: Domain,
  { layers, open }: { readonly layers: readonly LayerCommit[]; readonly open: boolean },
  job: MergeJob & Pick<Job, 'phase'>,
): Promise<void> {
  const merged = async (layer: LayerCommit): Promise<void> => {
    await job.phase('merged');
    await moveDisks(host, domain, 'live', movesOff([layer]));
    await moveDisks(host, domain, 'persistent', movesOff([layer]));
    await job.merged(layer);
    await job.phase('moved');
    await images.remove([layer.top]);
    await job.phase('delete');
  };
  const { signal, progress } = job;
  if (open) await host.commit(domain, layers, { signal, progress, merged });
  else await images.commit(layers, { signal, progress, merged });
}
