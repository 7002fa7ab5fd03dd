/**
 * Reverts of several disks, on any storage: a failure, or a crash, leaves none of them at another moment than the others.
 * Until all are reverted, what they held before is kept. A backend that can keep nothing (ZFS) is asked once more and comes
 * last: as long as none of its disks is reverted, all others can be put back.
 */

import { explained, undoAll } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import type { DiskGroup } from './backends.ts';
import type { ContentsBefore } from './contents-before.ts';

/** What became of a revert that was cut off: the disks hold what they held before it, or all of them are reverted. */
export type SettledRevert = 'undone' | 'completed';

interface KeptGroup extends DiskGroup {
  readonly before: ContentsBefore;
}

/** Refuses (55) a revert of several disks for which there is no room to keep what they hold. Reads only. */
export async function checkRoomBefore(name: string, groups: readonly DiskGroup[]): Promise<void> {
  if (disksOf(groups).length < 2) return;
  for (const { before, disks } of keeping(groups)) await before.checkRoom(name, disks);
}

/** Puts the contents of snapshot `name` back into all disks. After an error that says otherwise none is reverted. */
export async function revertDisks(name: string, groups: readonly DiskGroup[]): Promise<void> {
  if (disksOf(groups).length < 2) {
    for (const { backend, disks } of groups) await backend.revert(name, disks);
    return;
  }
  const kept = keeping(groups);
  await keepAll(name, kept);
  const reverted: KeptGroup[] = [];
  try {
    for (const group of kept) {
      reverted.push(group);
      await group.backend.revert(name, group.disks);
    }
    for (const { backend, disks } of lasting(groups)) await backend.check(name, disks, new Set());
  } catch (error) {
    throw await putBack(reverted, kept, error);
  }
  await revertLasting(name, lasting(groups), kept);
  await forget(kept);
}

/**
 * After a crash. If all disks still have what they held before, some may have been reverted: all get it back, or if a
 * backend cannot do that, all are reverted. If some do not have it, then either nothing had been reverted yet or
 * everything was: undefined.
 */
export async function settleRevert(name: string, groups: readonly DiskGroup[]): Promise<SettledRevert | undefined> {
  const kept = keeping(groups);
  const places = await Promise.all(kept.flatMap(({ before, disks }) => disks.map((snapshot) => before.find(snapshot))));
  const isUnfinished = disksOf(groups).length > 1 && places.every((place) => place !== undefined);
  const isLasting = lasting(groups).length > 0;
  if (isUnfinished && isLasting) for (const { backend, disks } of groups) await backend.revert(name, disks);
  else if (isUnfinished) for (const { before, disks } of kept) await before.putBack(disks);
  for (const { before, disks } of kept) await before.forget(disks);
  return isUnfinished ? (isLasting ? 'completed' : 'undone') : undefined;
}

/** Also shows that each disk can be written to. */
async function keepAll(name: string, groups: readonly KeptGroup[]): Promise<void> {
  const done: KeptGroup[] = [];
  try {
    for (const group of groups) {
      await group.before.keep(name, group.disks);
      done.push(group);
    }
  } catch (error) {
    await forget(done);
    throw explained(error, 'all disks hold what they held before');
  }
}

/** Returns the error to throw: `error`, with what the disks hold now. Contents that could not be put back stay kept. */
async function putBack(reverted: readonly KeptGroup[], kept: readonly KeptGroup[], error: unknown): Promise<Error> {
  const failure = await undoAll(
    reverted.map(
      ({ before, disks }) =>
        () =>
          before.putBack(disks),
    ),
    error,
  );
  if (failure !== error) return explained(failure, `what the disks held before is in ${await placesOf(kept)}`);
  await forget(kept);
  return explained(error, 'all disks hold what they held before');
}

/** The first disk still can be given up with all others; after it there is no way but forward. */
async function revertLasting(name: string, groups: readonly DiskGroup[], kept: readonly KeptGroup[]): Promise<void> {
  const done: string[] = [];
  for (const { backend, disks } of groups) {
    for (const snapshot of disks) {
      try {
        await backend.revert(name, [snapshot]);
      } catch (error) {
        if (done.length === 0) throw await putBack(kept, kept, error);
        await forget(kept);
        const all = [...disksOf(kept).map(({ disk }) => `'${disk.vdev}'`), ...done];
        throw explained(error, `reverted already: disk ${all.join(', ')}`);
      }
      done.push(`'${snapshot.disk.vdev}'`);
    }
  }
}

/** What stays only takes space, until the next revert. */
async function forget(groups: readonly KeptGroup[]): Promise<void> {
  for (const { before, disks } of groups) await before.forget(disks).catch(() => undefined);
}

async function placesOf(groups: readonly KeptGroup[]): Promise<string> {
  const places: string[] = [];
  for (const { before, disks } of groups) {
    for (const snapshot of disks) places.push((await before.find(snapshot).catch(() => undefined)) ?? '');
  }
  return places.filter((place) => place !== '').join(', ');
}

function keeping(groups: readonly DiskGroup[]): readonly KeptGroup[] {
  return groups.flatMap(({ backend, disks }) => (backend.before ? [{ backend, disks, before: backend.before }] : []));
}

function lasting(groups: readonly DiskGroup[]): readonly DiskGroup[] {
  return groups.filter(({ backend }) => !backend.before);
}

function disksOf(groups: readonly DiskGroup[]): readonly LibxlDiskSnapshot[] {
  return groups.flatMap(({ disks }) => disks);
}
