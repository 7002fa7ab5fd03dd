/** Snapshots that their owner has protected: nobody deletes them, by whatever call, until they are not protected any more. */

import { LibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';

/**
 * Protects a snapshot (`on`), or ends that. Waits for a running job, which may be its delete. Refuses (55) to protect one that
 * is deleted in part: nobody can revert to it.
 */
export async function setProtected(
  { jobs, protectedNames }: Pick<SnapshotContext, 'jobs' | 'protectedNames'>,
  snapshots: DomainSnapshots,
  name: string,
  on: boolean,
): Promise<void> {
  await jobs.exclusive(snapshots.ref, async () => {
    const { disks } = snapshots.find(name);
    const { ref } = snapshots;
    if (on && disks.some(({ deleteInProgress }) => deleteInProgress)) {
      const complete = virshCommand('delete', { domain: ref, snapshot: name, flags: 0 });
      const text = `snapshot '${name}' of domain '${ref.name}' is deleted in part; to complete that: ${complete}`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
    const names = new Set(protectedNames.of(ref));
    if (on) names.add(name);
    else names.delete(name);
    await protectedNames.set(ref, names);
  });
}

/** Refuses (55) to delete these snapshots if one of them is protected. */
export function checkUnprotected(
  { protectedNames }: Pick<SnapshotContext, 'protectedNames'>,
  domain: DomainRef,
  doomed: readonly { readonly name: string }[],
): void {
  if (doomed.length === 0) return;
  const known = protectedNames.of(domain);
  const kept = doomed.map(({ name }) => name).filter((name) => known.has(name));
  const [first, ...others] = kept;
  if (first === undefined) return;
  const command = domainCommand({ program: 'xlsnap', command: 'unprotect', domain, args: kept });
  const [which, them] =
    others.length === 0
      ? [`snapshot '${first}' of domain '${domain.name}' is`, 'it']
      : [`snapshots ${kept.map((name) => `'${name}'`).join(', ')} of domain '${domain.name}' are`, 'them'];
  const text = `${which} protected; to be able to delete ${them}: ${command}`;
  throw new LibvirtError('OPERATION_INVALID', text);
}
