/** Carries out a create, in an order in which every failure can be undone. */

import { explained, LibvirtError, neverAborted } from '../../errors.ts';
import { type Move, movesOnto, reversed } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDiskSnapshot, LibxlSnapshotTimings } from '../../model/libxl.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { fromLibxlSnapshot, reused } from '../../xml/snapshot/libxl-args.ts';
import { undoAfterFailure } from '../after-failure.ts';
import { moveDisks } from '../chains/move-disks.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import type { Job } from '../ports/jobs.ts';
import type { CreatePlan } from './plan.ts';
import { saveActive, saveFrozen } from './save-running.ts';
import { leftoversOf, undoCreate } from './undo.ts';

/** Takes the planned snapshot, records it, and with HALT ends the domain. */
export async function carryOutCreate(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  plan: CreatePlan,
  flags: number,
  job: OperationJob,
): Promise<void> {
  const taken = await take(context, domain, plan, flags, job);
  await record(context, snapshots, domain, plan, taken, flags, job);
  if (flags & CREATE.HALT && isActive(domain)) await halt(context, domain, plan.snapshot.name, job);
}

/**
 * New overlays are made, and the persistent definition names them, before anything is captured: an empty overlay shows
 * what its base does, so a domain that is started again in between loses nothing.
 */
async function take(
  context: SnapshotContext,
  domain: Domain,
  { snapshot, args }: CreatePlan,
  flags: number,
  job: OperationJob,
): Promise<SnapshotDef> {
  const { host, images } = context;
  const { name } = snapshot;
  const disks = args.disks ?? [];
  const overlays = disks.filter(({ external }) => external);
  await prepareMemory(context, domain, snapshot, flags);
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

async function prepareMemory(
  { memory }: SnapshotContext,
  { ref }: Domain,
  { name, memory: asked }: SnapshotDef,
  flags: number,
): Promise<void> {
  if (asked.location === 'internal') await memory.prepare(ref, name);
  if (asked.location === 'external') {
    await memory.prepareFile(ref, asked.file, { reuse: (flags & CREATE.REUSE_EXT) !== 0 });
  }
}

/** If a domain that was off is started before its definition names the overlays, it writes to their bases. */
async function refuseStarted(
  { host }: SnapshotContext,
  { ref }: Domain,
  name: string,
  moves: readonly Move[],
): Promise<void> {
  const now = moves.length > 0 ? await host.lookup(ref) : undefined;
  if (!now || !isActive(now)) return;
  const { images } = await host.definition(now, 'live');
  const written = moves.find(({ disk, from }) => images.get(disk)?.path === from.path);
  if (!written) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `domain '${ref.name}' was started while snapshot '${name}' was taken, and writes to image '${written.from.path}' of ` +
      `disk '${written.disk}': take the snapshot again`,
  );
}

/** How long the guest was stopped, in milliseconds. A live save stops it only at the end. */
function pauseOf({ suspend_ms = 0, disks_ms = 0, resume_ms }: LibxlSnapshotTimings, live: boolean): number {
  return (live ? 0 : suspend_ms) + (resume_ms ?? disks_ms);
}

/**
 * Undoes overlays that were made before the save. A failed save leaves none of them in use, but a guest that has been
 * started again uses them: what it has written is merged into their bases. Overlays that the user gave stay, empty.
 */
async function undoOverlays(
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

/**
 * The live definition follows, and the metadata is written. If that fails or is cancelled, the snapshot is undone: one
 * that is not listed would only take space.
 */
async function record(
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

/** The metadata may already exist. If it cannot be removed, the data that it promises must stay too. */
async function removeMetadata({ store }: SnapshotContext, { ref }: Domain, name: string): Promise<void> {
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

async function halt({ host }: SnapshotContext, { ref }: Domain, name: string, job: OperationJob): Promise<void> {
  const domain = await host.lookup(ref);
  try {
    await job.phase('halt');
    await host.destroy(domain);
  } catch (error) {
    throw explained(error, `snapshot '${name}' of domain '${domain.ref.name}' is taken, and the domain was not halted`);
  }
}
