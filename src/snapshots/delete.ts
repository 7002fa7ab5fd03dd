/** virDomainSnapshotDelete: one snapshot, or it and all beneath it, or only those beneath it. */

import { asLibvirtError, LibvirtError, throwIfCancelled } from '../errors.ts';
import { DELETE } from '../model/flags.ts';
import { isExternal, type SnapshotEntry } from '../model/snapshot.ts';
import type { SnapshotContext } from './context.ts';
import { discardData } from './discard.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { OperationJob } from './jobs.ts';

/**
 * Data goes before metadata, leaves before their parents: whatever stops it, what is still listed is complete or can be
 * deleted again. METADATA_ONLY leaves all data where it is.
 */
export async function deleteSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  const { host, jobs } = context;
  const metadataOnly = (flags & DELETE.METADATA_ONLY) !== 0;
  snapshots.find(name);
  await jobs.run(snapshots.ref, { operation: 'delete', snapshot: name, flags }, async (job) => {
    const domain = await host.lookup(snapshots.ref);
    const doomed = selection(snapshots, name, flags);
    if (!metadataOnly) checkExternal(doomed, name, flags);
    await job.phase('delete');
    await moveCurrent(snapshots, doomed, name, flags);
    for (const [gone, entry] of doomed.entries()) {
      checkCancelled(job, snapshots.ref.name, gone, doomed.length);
      if (!metadataOnly) await discardData(context, domain, await snapshots.read(entry.name));
      await snapshots.remove(entry.name);
    }
  });
}

/** Between two snapshots nothing is half gone: there a delete can be cancelled, until the last one goes. */
function checkCancelled(job: OperationJob, domain: string, gone: number, all: number): void {
  try {
    if (gone === all - 1) job.commit();
    else throwIfCancelled(job.signal);
  } catch (error) {
    const { code, detail } = asLibvirtError(error);
    const situation = `${gone} of ${all} snapshots of domain '${domain}' are deleted; the others are as they were`;
    throw new LibvirtError(code, `${detail} (${situation})`, { cause: error });
  }
}

/** What goes, children first. */
function selection(snapshots: DomainSnapshots, name: string, flags: number): readonly SnapshotEntry[] {
  const entry = snapshots.find(name);
  if (!(flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY))) return [entry];
  const beneath = [...snapshots.tree.descendants(name)].reverse();
  return flags & DELETE.CHILDREN ? [...beneath, entry] : beneath;
}

function checkExternal(doomed: readonly SnapshotEntry[], name: string, flags: number): void {
  if (!doomed.some(isExternal)) return;
  const several = flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY);
  throw new LibvirtError(
    'CONFIG_UNSUPPORTED',
    several
      ? 'deletion of external children disk snapshots not supported'
      : `deletion of external snapshot '${name}' is not yet supported by this driver; --metadata forgets it and keeps its files`,
  );
}

/** A current snapshot among those that go with children hands over first: to the snapshot itself, as libvirt does. */
async function moveCurrent(
  snapshots: DomainSnapshots,
  doomed: readonly SnapshotEntry[],
  name: string,
  flags: number,
): Promise<void> {
  const { current } = snapshots;
  if (!(flags & (DELETE.CHILDREN | DELETE.CHILDREN_ONLY)) || !current || current.name === name) return;
  if (doomed.some((entry) => entry.name === current.name)) await snapshots.setCurrent(name);
}
