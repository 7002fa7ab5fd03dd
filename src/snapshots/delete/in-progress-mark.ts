/**
 * Marks a snapshot whose overlays are being merged: its own image changes, so nobody may revert to it until that is
 * done.
 */

import { stat } from 'node:fs/promises';
import { doneInPart, hasReason } from '../../errors.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { Merge } from './plan-merges.ts';

/**
 * Runs `merge` while the snapshot's disks have libvirt's mark `<snapshotDeleteInProgress/>`. If a failure has changed
 * none of the images, the mark is removed; else it stays, and the error has the reason `done-in-part`, as it has if `merge`
 * says so itself.
 */
export async function whileMarked(
  snapshots: DomainSnapshots,
  snapshot: SnapshotDef,
  { own, others }: Merge,
  merge: () => Promise<void>,
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
    // The mark may be in the file already, and no merge has begun.
    await snapshots.put(snapshot, false).catch(() => {});
    throw error;
  }
  try {
    await merge();
  } catch (error) {
    if (hasReason(error, 'done-in-part')) throw error;
    if ((await identities(bases)) !== before) throw doneInPart(error);
    await snapshots.put(snapshot, false);
    throw error;
  }
}

async function identities(paths: readonly string[]): Promise<string> {
  const found = await Promise.all(paths.map((path) => stat(path, { bigint: true }).catch(() => undefined)));
  return found.map((file) => `${file?.ino} ${file?.size} ${file?.mtimeNs}`).join('\n');
}
