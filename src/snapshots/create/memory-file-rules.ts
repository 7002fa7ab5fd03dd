/** Refuses external memory in a file that holds, or is about to hold, something else. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import type { Domain } from '../../model/domain.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { memoryUser } from '../chains/shared-data.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { ownFileAt } from '../own-files.ts';

/**
 * Refuses (67) a file that is xlsnapd's own, an image of the domain, of one of its snapshots or of another domain, the memory of another
 * snapshot, or an overlay of this one: also with REUSE_EXT, which gives a file away that nobody needs.
 */
export async function checkMemoryFile(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  of: Domain,
  snapshot: SnapshotDef,
): Promise<void> {
  const { images } = context;
  const { memory, domain } = snapshot;
  if (memory.location !== 'external' || !domain) return;
  const file = await images.fileKey(memory.file);
  const refuse = (whose: string) =>
    new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `external memory snapshot file '${memory.file}' is ${whose}: choose another`,
    );
  const own = await ownFileAt(context, memory.file);
  if (own !== undefined) throw refuse(`among xlsnapd's own files, '${own}'`);
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
  // What is not there nobody uses.
  if (!(await statIfThere(memory.file))) return;
  for (const user of (await sharedImages(context, of, [{ path: memory.file }])).values()) {
    throw refuse(`an image that ${describeUser(user)} uses`);
  }
  const other = await memoryUser(context, of, memory.file);
  if (other) throw refuse(`part of snapshot '${other.snapshot}' of domain '${other.domain}'`);
}
