/**
 * Memory images of snapshots whose metadata was given up: by `snapshot-delete --metadata`, `undefine --snapshots-metadata`,
 * or the end of a transient domain. They must not pile up if a domain with a fixed UUID is defined again and again.
 */

import { asLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';

/**
 * Removes those that are of no use any more, since the images that they name hold other contents now. An image of the name
 * `taken` goes also if these images are missing. All others stay: prepare() refuses to write over them. Never rejects: what
 * could not be removed is logged.
 */
export async function removeGivenUpMemory(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  taken: string,
): Promise<void> {
  const { memory, log } = context;
  const { ref, tree } = snapshots;
  try {
    for (const name of await memory.list(ref)) {
      if (tree.get(name)?.memory.location === 'internal') continue;
      await removeUnlessHeld(context, ref, name, taken);
    }
  } catch (error) {
    log(asLibvirtError(error).message);
  }
}

async function removeUnlessHeld(
  { host, memory, log }: SnapshotContext,
  ref: DomainRef,
  name: string,
  taken: string,
): Promise<void> {
  const path = memory.path(ref, name);
  await memory.check(path);
  const state = await host.tieState({ path, name });
  if (state === 'holds' || (state === 'unknown' && name !== taken)) return;
  await memory.remove(ref, name);
  const reason = state === 'broken' ? 'its images hold other contents now' : 'its images are missing';
  log(`removed memory image '${path}' of snapshot '${name}' of domain '${ref.name}', which has no metadata: ${reason}`);
}
