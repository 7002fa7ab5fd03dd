/** A delete that merges layers changes the snapshot's own image: until it is done, nobody may revert to that. */

import { stat } from 'node:fs/promises';
import type { SnapshotDef } from '../../model/snapshot.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { Merge } from './plan-merges.ts';

/**
 * Runs `merge` while the snapshot's disks bear libvirt's mark `<snapshotDeleteInProgress/>`. After a failure that has
 * changed none of the images the snapshot is what it was; else the mark stays, and `changed` says what that means.
 */
export async function whileMarked(
  snapshots: DomainSnapshots,
  snapshot: SnapshotDef,
  { own, others }: Merge,
  merge: () => Promise<void>,
  changed: (error: unknown) => Error,
): Promise<void> {
  const layers = [...own, ...others];
  if (layers.length === 0) {
    await merge();
    return;
  }
  const bases = layers.map(({ base }) => base.path);
  const before = await identities(bases);
  const marked = new Set(layers.map(({ disk }) => disk));
  const disks = snapshot.disks.map((disk) =>
    marked.has(disk.name) ? { ...disk, deleteInProgress: true as const } : disk,
  );
  try {
    await snapshots.put({ ...snapshot, disks }, false);
  } catch (error) {
    // It may be in the file by now, and nothing has been begun.
    await snapshots.put(snapshot, false).catch(() => {});
    throw error;
  }
  try {
    await merge();
  } catch (error) {
    if ((await identities(bases)) !== before) throw changed(error);
    await snapshots.put(snapshot, false);
    throw error;
  }
}

async function identities(paths: readonly string[]): Promise<string> {
  const found = await Promise.all(paths.map((path) => stat(path, { bigint: true }).catch(() => undefined)));
  return found.map((file) => `${file?.ino} ${file?.size} ${file?.mtimeNs}`).join('\n');
}
