/** Reverts a logical volume to a snapshot, which stays. After an interruption the revert can be run again. */

import { setTimeout } from 'node:timers/promises';
import { LibvirtError } from '../../errors.ts';
import { runLongProgram } from '../program.ts';
import {
  beforeName,
  createSnapshot,
  EMPTY_SNAPSHOT_BYTES,
  freshName,
  type Group,
  groupOf,
  type LogicalVolume,
  LVM2,
  lvm,
  remove,
  rename,
  replacedName,
  requireOne,
  requireSnapshot,
  snapshotName,
  type Volume,
} from './logical-volumes.ts';

/**
 * The kernel closes a volume a little after its guest has ended, and then udev opens it for a moment. LVM itself waits
 * this long (activation/retry_deactivation).
 */
const CLOSE_TIMEOUT_MS = 5_000;
const CLOSE_POLL_MS = 200;

/** Tag of a thick volume, with the snapshot's name: set before the merge, which uses the snapshot up, until it is taken again. */
const TAG = 'xlsnap.revert.';

/**
 * Snapshots that an interrupted revert has merged, or was about to. Until the revert is finished the volume has another
 * name, so that no guest writes to it: the snapshot is taken again of the contents that were merged.
 */
export function unfinished(group: Group, { lv }: LogicalVolume): readonly string[] {
  const away = group.get(replacedName(lv));
  return group.has(lv) || !away ? [] : revertTags(away).map((tag) => tag.slice(TAG.length));
}

function revertTags(volume: Volume): readonly string[] {
  return tagsOf(volume).filter((tag) => tag.startsWith(TAG));
}

function tagsOf({ lv_tags }: Volume): readonly string[] {
  return lv_tags.split(',').filter((tag) => tag !== '');
}

/** For an inactive volume we cannot know who has it open, and LVM would defer the merge. */
export function refuseInactive({ disk, vg }: LogicalVolume, { lv_name, lv_device_open }: Volume): void {
  if (lv_device_open !== '-1') return;
  const text = `volume '${vg}/${lv_name}' of disk '${disk}' is not active: activate it (lvchange -ay ${vg}/${lv_name})`;
  throw new LibvirtError('OPERATION_INVALID', text);
}

/** Refuses a volume that is open: its user would keep the replaced volume, and LVM would defer the merge. */
export async function requireClosed(volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  for (const end = Date.now() + CLOSE_TIMEOUT_MS; ; await setTimeout(CLOSE_POLL_MS)) {
    const found = requireOne(await groupOf(volume), volume);
    refuseInactive(volume, found);
    if (found.lv_device_open === '0') return;
    if (Date.now() < end) continue;
    const text = `cannot revert disk '${disk}' to snapshot '${name}': volume '${vg}/${lv}' is in use: close it first`;
    throw new LibvirtError('OPERATION_FAILED', text);
  }
}

/** Puts the contents of its snapshot back into a volume. */
export async function revertVolume(volume: LogicalVolume, name: string): Promise<void> {
  const group = await groupOf(volume);
  const snapshot = snapshotName(volume, name);
  if (!unfinished(group, volume).includes(snapshot)) requireSnapshot(group, volume, name, 'OPERATION_FAILED');
  await putBack(volume, group, snapshot, `cannot revert disk '${volume.disk}' to snapshot '${name}'`);
}

/** The same for any snapshot volume. First completes what an interrupted revert has begun. `group`: as it is now. */
export async function putBack(volume: LogicalVolume, group: Group, snapshot: string, failure: string): Promise<void> {
  const isThick = requireOne(group, volume).pool_lv === '';
  const isBegun = unfinished(group, volume).includes(snapshot);
  const whole = await completeRevert(volume, group, failure);
  if (isThick && !isBegun) await merge(volume, whole, snapshot, failure);
  if (!isThick) await replace(volume, whole, snapshot, failure);
}

/**
 * Leaves the volume under its own name, with what an interrupted revert was to give it, if that cannot be undone. Returns
 * the group as it is then.
 */
export async function completeRevert(volume: LogicalVolume, group: Group, failure: string): Promise<Group> {
  const { lv } = volume;
  const [replaced, fresh] = [replacedName(lv), freshName(lv)];
  if (requireOne(group, volume).pool_lv === '') {
    const begun = unfinished(group, volume);
    for (const snapshot of begun) await merge(volume, await groupOf(volume), snapshot, failure);
    return begun.length > 0 ? await groupOf(volume) : group;
  }
  if (group.has(replaced)) await (group.has(lv) ? remove(volume, replaced) : rename(volume, replaced, lv));
  if (group.has(fresh)) await remove(volume, fresh);
  return group.has(replaced) || group.has(fresh) ? await groupOf(volume) : group;
}

/** Replaces a thin volume by a new snapshot of the snapshot, by two renames; the tags are kept. */
async function replace(volume: LogicalVolume, group: Group, snapshot: string, failure: string): Promise<void> {
  const { vg, lv } = volume;
  const [replaced, fresh] = [replacedName(lv), freshName(lv)];
  const tags = tagsOf(requireOne(group, volume)).flatMap((tag) => ['--addtag', tag]);
  // -kn: it is activated as any volume, which snapshots are not.
  await lvm('lvcreate', ['-y', '-s', '-kn', ...tags, '-n', fresh, '--', `${vg}/${snapshot}`], failure);
  await rename(volume, lv, replaced);
  try {
    await rename(volume, fresh, lv);
  } catch (error) {
    await rename(volume, replaced, lv);
    throw error;
  }
  await remove(volume, replaced);
}

/** Merges a snapshot into its thick origin, which uses it up, and takes it again. */
async function merge(volume: LogicalVolume, group: Group, snapshot: string, failure: string): Promise<void> {
  const { vg, lv } = volume;
  const [away, tag] = [replacedName(lv), `${TAG}${snapshot}`];
  const origin = group.get(lv);
  if (origin) {
    const stale = revertTags(origin).flatMap((each) => (each === tag ? [] : ['--deltag', each]));
    await lvm('lvchange', [...stale, '--addtag', tag, '--', `${vg}/${lv}`], failure);
    await rename(volume, lv, away);
  }
  if (group.has(snapshot)) await mergeBegun(volume, snapshot, failure);
  const merged = await requireMerged(volume, failure);
  // What was kept before a revert is not kept while a guest runs: nothing will be written.
  const bytes = snapshot === beforeName(lv) ? EMPTY_SNAPSHOT_BYTES : undefined;
  await createSnapshot({ ...volume, lv: away }, merged, snapshot, failure, bytes);
  await rename(volume, away, lv);
  await lvm('lvchange', ['--deltag', tag, '--', `${vg}/${lv}`], failure);
}

async function mergeBegun(volume: LogicalVolume, snapshot: string, failure: string): Promise<void> {
  const { vg, lv } = volume;
  try {
    // It copies back what has changed: no time limit fits.
    await runLongProgram({ name: 'lvconvert', ...LVM2 }, ['-y', '--merge', '--', `${vg}/${snapshot}`], failure);
  } catch (error) {
    if ((await groupOf(volume)).has(snapshot)) await rename(volume, replacedName(lv), lv);
    throw error;
  }
}

/** LVM defers a merge while the volume is open, and reports success. A refresh (lvchange) starts it. Returns the merged volume. */
async function requireMerged(volume: LogicalVolume, failure: string): Promise<Volume> {
  const { vg } = volume;
  for (const end = Date.now() + CLOSE_TIMEOUT_MS; ; await setTimeout(CLOSE_POLL_MS)) {
    const found = requireOne(await groupOf(volume), volume);
    const { lv_name, lv_merging } = found;
    if (lv_merging !== '1') return found;
    if (Date.now() >= end) {
      throw new LibvirtError(
        'OPERATION_FAILED',
        `${failure}: its snapshot is still being merged into '${vg}/${lv_name}'`,
      );
    }
    await lvm('lvchange', ['--refresh', '--', `${vg}/${lv_name}`], failure);
  }
}

/** Refuses a snapshot that is being merged: LVM would continue the merge of a deleted snapshot. */
export function refuseMerging(group: Group, volume: LogicalVolume, name: string): void {
  const { disk, vg, lv } = volume;
  const away = replacedName(lv);
  if (!unfinished(group, volume).includes(snapshotName(volume, name)) || group.get(away)?.lv_merging !== '1') return;
  const text = `cannot delete snapshot '${name}' of disk '${disk}': it is being merged into '${vg}/${away}': revert to it first`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** Gives up an interrupted revert once its snapshot is gone: the volume gets its name back. */
export async function giveUp(group: Group, volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  const snapshot = snapshotName(volume, name);
  const begun = unfinished(group, volume);
  if (begun.length === 0 || begun.some((each) => each !== snapshot)) return;
  await rename(volume, replacedName(lv), lv);
  const failure = `cannot delete snapshot '${name}' of disk '${disk}'`;
  await lvm('lvchange', ['--deltag', `${TAG}${snapshot}`, '--', `${vg}/${lv}`], failure);
}
