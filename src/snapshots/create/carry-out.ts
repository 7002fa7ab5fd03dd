/** Carries a create out, in an order in which every failure can be taken back. */

import { LibvirtError, neverAborted } from '../../errors.ts';
import { type Move, movesOnto, reversed } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDiskSnapshot, LibxlSnapshotTimings } from '../../model/libxl.ts';
import { memoryImageBytes } from '../../model/memory-size.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { diskImages } from '../../xml/domain/images.ts';
import { fromLibxlSnapshot, reused } from '../../xml/snapshot/libxl-args.ts';
import { undoAfterFailure } from '../after-failure.ts';
import { moveDisks } from '../chains/move-disks.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import type { Job } from '../ports.ts';
import type { CreatePlan } from './plan.ts';
import { saveActive, saveFrozen } from './save-running.ts';
import { leftoversOf, undoCreate } from './undo.ts';

/**
 * Carries the snapshot out. New overlays are made, and the persistent definition points at them, before anything is
 * captured: an empty overlay shows what its base does, so a domain that starts anew in between loses nothing.
 */
export async function take(
  context: SnapshotContext,
  domain: Domain,
  { snapshot, args, memoryKib }: CreatePlan,
  flags: number,
  job: OperationJob,
): Promise<SnapshotDef> {
  const { host, images } = context;
  const { name } = snapshot;
  const disks = args.disks ?? [];
  const overlays = disks.filter(({ external }) => external);
  if (isActive(domain)) await host.checkSave(domain, args);
  else await images.checkFree(name, disks);
  await prepareMemory(context, domain, snapshot, memoryKib, flags);
  try {
    await job.plan(args);
    await job.phase('disks');
    const open = isActive(domain) ? overlays.flatMap(({ disk }) => disk.pdev_path ?? []) : [];
    await images.create(name, isActive(domain) ? overlays : disks, new Set(open));
  } catch (error) {
    await context.memory.tidy(domain.ref);
    throw error;
  }
  const moves = movesOnto(overlays);
  try {
    await moveDisks(host, domain, 'persistent', moves);
    if (!isActive(domain)) {
      await refuseStarted(context, domain, name, moves);
      return snapshot;
    }
    const save = flags & CREATE.QUIESCE ? saveFrozen : saveActive;
    const taken = await save(context, domain, name, { ...args, disks: reused(disks) }, flags, job);
    if (taken.timings) job.paused(pauseOf(taken.timings, args.live === true));
    return fromLibxlSnapshot(snapshot, taken);
  } catch (error) {
    await context.memory.tidy(domain.ref);
    const undo = () => undoOverlays(context, domain, overlays, job);
    throw await undoAfterFailure(context, error, leftoversOf(name, overlays), undo);
  }
}

/** A domain that was off, and was started before its definition had the overlays, writes to the images beneath. */
export async function refuseStarted(
  { host }: SnapshotContext,
  { ref }: Domain,
  name: string,
  moves: readonly Move[],
): Promise<void> {
  const now = moves.length > 0 ? await host.lookup(ref) : undefined;
  if (!now || !isActive(now)) return;
  const images = diskImages(await host.definition(now, 'live'));
  const written = moves.find(({ disk, from }) => images.get(disk)?.path === from.path);
  if (!written) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `domain '${ref.name}' was started while snapshot '${name}' was taken, and writes to image '${written.from.path}' of ` +
      `disk '${written.disk}': take the snapshot again`,
  );
}

/** How long the guest stood: from the suspend on, which a live one only ends with. */
export function pauseOf({ suspend_ms = 0, disks_ms = 0, resume_ms }: LibxlSnapshotTimings, live: boolean): number {
  return (live ? 0 : suspend_ms) + (resume_ms ?? disks_ms);
}

/**
 * Overlays that were made beforehand. The save has left none of them in use; but a guest that was started anew meanwhile
 * stands on them, and what it has written goes into the images beneath. Those that were the user's stay, empty.
 */
export async function undoOverlays(
  context: SnapshotContext,
  { ref }: Domain,
  overlays: readonly LibxlDiskSnapshot[],
  { progress }: Job,
): Promise<void> {
  const made = overlays.filter(({ external_reuse }) => !external_reuse);
  const now = await context.host.lookup(ref);
  await undoCreate(context, now, '', { disks: made }, { signal: neverAborted(), progress });
  await moveDisks(context.host, now, 'persistent', reversed(movesOnto(overlays)));
}

export async function prepareMemory(
  { memory }: SnapshotContext,
  { ref }: Domain,
  { name, memory: asked }: SnapshotDef,
  memoryKib: number,
  flags: number,
): Promise<void> {
  const bytes = memoryImageBytes(memoryKib);
  if (asked.location === 'internal') await memory.prepare(ref, name, bytes);
  if (asked.location === 'external') {
    await memory.prepareFile(ref, asked.file, bytes, { reuse: (flags & CREATE.REUSE_EXT) !== 0 });
  }
}

/**
 * The live definition follows, and the metadata is written. Where that fails, or is cancelled, the snapshot is taken
 * back: one that is not listed would only hold space.
 */
export async function record(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  { args }: CreatePlan,
  snapshot: SnapshotDef,
  flags: number,
  job: OperationJob,
): Promise<void> {
  const { host } = context;
  const listed = !(flags & CREATE.NO_METADATA);
  try {
    await job.phase('metadata');
    job.commit();
    await moveDisks(host, domain, 'live', movesOnto(args.disks ?? []));
    if (listed) await snapshots.put(snapshot, true);
  } catch (error) {
    throw await undoAfterFailure(context, error, leftoversOf(snapshot.name, args.disks ?? []), async () => {
      if (listed) await removeMetadata(context, domain, snapshot.name);
      const uncancelled = { signal: neverAborted(), progress: job.progress };
      await undoCreate(context, await host.lookup(domain.ref), snapshot.name, args, uncancelled);
    });
  }
}

/** They may be there by now: where they stay, so must the data that they promise. */
export async function removeMetadata({ store }: SnapshotContext, { ref }: Domain, name: string): Promise<void> {
  try {
    await store.remove(ref, name);
  } catch (error) {
    const stays = await store.read(ref, name).then(
      () => true,
      () => false,
    );
    if (stays) throw error;
  }
}
