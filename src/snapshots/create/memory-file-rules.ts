/** Refuses external memory in a file that holds, or is about to hold, something else. */

import { LibvirtError } from '../../errors.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';

/**
 * Refuses (67) a file that is an image of the domain or of one of its snapshots, the memory of another snapshot, or an
 * overlay of this one: also with REUSE_EXT, which gives a file away that nobody needs.
 */
export async function checkMemoryFile(
  { images }: Pick<SnapshotContext, 'images'>,
  snapshots: DomainSnapshots,
  snapshot: SnapshotDef,
): Promise<void> {
  const { memory, domain } = snapshot;
  if (memory.location !== 'external' || !domain) return;
  const file = await images.fileKey(memory.file);
  const refuse = (whose: string) =>
    new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `external memory snapshot file '${memory.file}' is ${whose}: choose another`,
    );
  for (const disk of externalDisks(snapshot)) {
    for (const { path } of overlaysOf(snapshot, disk)) {
      if ((await images.fileKey(path)) === file) throw refuse(`to be the overlay of disk '${disk}'`);
    }
  }
  const chains = await images.chains([...domain.images.values()]);
  for (const [index, disk] of [...domain.images.keys()].entries()) {
    const { layers = [], dataFiles = [] } = chains[index] ?? {};
    const keys = [...layers.map(({ key }) => key), ...dataFiles];
    if (keys.includes(file)) throw refuse(`an image of disk '${disk}'`);
  }
  for (const { name, disks, memory: others } of snapshots.tree.all()) {
    const paths = disks.flatMap(({ target }) => target?.path ?? []);
    if (others.location === 'external') paths.push(others.file);
    for (const path of paths) if ((await images.fileKey(path)) === file) throw refuse(`part of snapshot '${name}'`);
  }
}
