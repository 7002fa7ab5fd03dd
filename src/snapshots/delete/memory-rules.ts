/** Memory in a file that the snapshot's document names: a redefined one can name any. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import { savedDomainOf } from '../../files/saved-domain.ts';
import type { Domain } from '../../model/domain.ts';
import { DELETE } from '../../model/flags.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import { partialOf } from '../../model/phases.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { ownFileAt } from '../own-files.ts';

/**
 * Refuses (55) to remove as external memory of the snapshot what no save of this domain has written: libvirt would remove any file
 * that a redefined document names. What an interrupted save has left beside it is removed as well, and asked about in the same way.
 * Reads only.
 */
export async function checkExternalMemory(
  context: SnapshotContext,
  domain: Domain,
  { name, memory }: SnapshotDef,
): Promise<void> {
  if (memory.location !== 'external') return;
  const { ref } = domain;
  for (const file of [memory.file, partialOf(memory.file)]) {
    const whose = await otherContents(context, domain, file);
    if (whose === undefined) continue;
    const forget = virshCommand('delete', { domain: ref, snapshot: name, flags: DELETE.METADATA_ONLY });
    const text = `file '${file}', the memory of snapshot '${name}' of domain '${ref.name}', is ${whose}: it would be removed; to forget the snapshot and keep the file: ${forget}`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
}

/** What the file is if it is not memory of this domain; undefined if it is, or if nothing is there. */
async function otherContents(context: SnapshotContext, domain: Domain, file: string): Promise<string | undefined> {
  const own = await ownFileAt(context, file);
  if (own !== undefined) return `among xlsnapd's own files, '${own}'`;
  const found = await statIfThere(file);
  if (!found) return undefined;
  if (!found.isFile()) return 'not a regular file';
  for (const user of (await sharedImages(context, domain, [{ path: file }])).values()) {
    return `an image that ${describeUser(user)} uses`;
  }
  const owner = await savedDomainOf(file);
  if (owner === domain.ref.uuid) return undefined;
  return owner === undefined ? 'not a memory image' : `a memory image of another domain, with UUID ${owner}`;
}

/** A snapshot that was cloned or redefined may share its memory with another one of the domain, by whatever name. */
export async function isNamedElsewhere(
  { images }: Pick<SnapshotContext, 'images'>,
  { tree }: DomainSnapshots,
  { name }: SnapshotDef,
  file: string,
): Promise<boolean> {
  const key = await images.fileKey(file);
  for (const { name: other, memory } of tree.all()) {
    if (other === name || memory.location !== 'external') continue;
    if (memory.file === file || (await images.fileKey(memory.file)) === key) return true;
  }
  return false;
}
