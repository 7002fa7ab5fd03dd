/** Reverts of several images: a failure, or a crash, leaves none of them at another moment than the others. */

import { explained, undoAll } from '../../errors.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { applySnapshot, createSnapshots, deleteSnapshots, findSnapshot } from './qcow2-snapshots.ts';

/** What each image held before. No snapshot of a domain has such a name. */
export const BEFORE_REVERT = '.xlsnap-before-revert';

/**
 * Reverts one image after the other. Until then their contents are kept in another internal snapshot: making that in every
 * image first also shows that each can be written to.
 */
export async function keepingContents(
  disks: readonly LibxlDiskSnapshot[],
  apply: (snapshot: LibxlDiskSnapshot) => Promise<void>,
): Promise<void> {
  await deleteSnapshots(BEFORE_REVERT, disks);
  await createSnapshots(BEFORE_REVERT, disks);
  const changed: LibxlDiskSnapshot[] = [];
  try {
    for (const snapshot of disks) {
      changed.push(snapshot);
      await apply(snapshot);
    }
  } catch (error) {
    const putBack = changed.map((snapshot) => () => applySnapshot(snapshot, BEFORE_REVERT));
    const failure = await undoAll(putBack, error);
    // Contents that could not be put back stay in their snapshot.
    if (failure !== error)
      throw explained(failure, `what the images held is in internal snapshot '${BEFORE_REVERT}' of each`);
    await forgetContents(disks);
    throw explained(error, 'all images hold what they held before');
  }
  await forgetContents(disks);
}

/** A snapshot that stays only takes space, until the next revert. */
async function forgetContents(disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  await deleteSnapshots(BEFORE_REVERT, disks).catch(() => undefined);
}

/**
 * After a crash. If all images still have what they held before, some may have been reverted: all get it back, and the result
 * is true. If some do not have it, then either nothing had been reverted yet or everything was.
 */
export async function undoUnfinishedRevert(disks: readonly LibxlDiskSnapshot[]): Promise<boolean> {
  const kept = await Promise.all(disks.map(({ disk }) => findSnapshot(disk, BEFORE_REVERT)));
  const isUnfinished = disks.length > 1 && kept.every((snapshot) => snapshot !== undefined);
  if (isUnfinished) for (const snapshot of disks) await applySnapshot(snapshot, BEFORE_REVERT);
  await deleteSnapshots(BEFORE_REVERT, disks);
  return isUnfinished;
}
