/** Memory in a file that the snapshot's document names: a redefined one can name any. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import type { Domain } from '../../model/domain.ts';
import { DELETE } from '../../model/flags.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { ownFileAt } from '../own-files.ts';

/**
 * Refuses (55) to remove as external memory of the snapshot what no save has written: a file of ours, and the internal
 * memory of other snapshots is among them; a socket or a device; an image that somebody uses. Reads only.
 */
export async function checkExternalMemory(
  context: SnapshotContext,
  domain: Domain,
  { name, memory }: SnapshotDef,
): Promise<void> {
  if (memory.location !== 'external') return;
  const { ref } = domain;
  const { file } = memory;
  const refuse = (whose: string) => {
    const forget = virshCommand('delete', { domain: ref, snapshot: name, flags: DELETE.METADATA_ONLY });
    const text = `file '${file}', the memory of snapshot '${name}' of domain '${ref.name}', is ${whose}: it would be removed; to forget the snapshot and keep the file: ${forget}`;
    return new LibvirtError('OPERATION_INVALID', text);
  };
  const own = await ownFileAt(context, file);
  if (own !== undefined) throw refuse(`among xlsnapd's own files, '${own}'`);
  const found = await statIfThere(file);
  if (!found) return;
  if (!found.isFile()) throw refuse('not a regular file');
  for (const user of (await sharedImages(context, domain, [{ path: file }])).values()) {
    throw refuse(`an image that ${describeUser(user)} uses`);
  }
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
