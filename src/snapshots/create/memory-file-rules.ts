/** Refuses external memory in a file that holds, or is about to hold, something else. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import { savedDomainOf } from '../../files/saved-domain.ts';
import type { Domain } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import { partialOf } from '../../model/phases.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { memoryUser } from '../chains/shared-data.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { ownFileAt } from '../own-files.ts';

/**
 * Refuses (67) a file that is xlsnapd's own, an image of the domain, of one of its snapshots or of another domain, the memory of another
 * snapshot, or an overlay of this one: also with REUSE_EXT, which gives a file away that nobody needs. And with it a file with
 * other contents than memory of the domain: libvirt would overwrite any of root's. What a save of the domain has left beside it is
 * removed; anything else there is refused.
 */
export async function checkMemoryFile(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  of: Domain,
  snapshot: SnapshotDef,
  flags: number,
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
  const partial = partialOf(memory.file);
  if ((await statIfThere(partial)) && (await savedDomainOf(partial)) !== of.ref.uuid) {
    throw refuse(`written as '${partial}' first, which is not what a save of domain '${of.ref.name}' has left`);
  }
  // What is not there nobody uses.
  const found = await statIfThere(memory.file);
  if (!found) return;
  for (const user of (await sharedImages(context, of, [{ path: memory.file }])).values()) {
    throw refuse(`an image that ${describeUser(user)} uses`);
  }
  const other = await memoryUser(context, of, memory.file);
  if (other) throw refuse(`part of snapshot '${other.snapshot}' of domain '${other.domain}'`);
  // A file that is not given away is refused later, whatever it holds.
  if ((flags & CREATE.REUSE_EXT) === 0 || !found.isFile() || found.size === 0) return;
  if ((await savedDomainOf(memory.file)) !== of.ref.uuid) throw refuse(`neither empty nor memory of '${of.ref.name}'`);
}
