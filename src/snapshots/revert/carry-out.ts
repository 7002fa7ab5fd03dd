/** Carries out a planned revert: the old domain ends, the disks go back, the new domain starts. */

import { explained } from '../../errors.ts';
import { movesOnto } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { Phase } from '../../model/phases.ts';
import { undoAfterFailure } from '../after-failure.ts';
import { checkUndo } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import type { OperationJob } from '../jobs.ts';
import type { RevertPlan } from './plan.ts';

/** Once the old domain has ended its state is lost: from then on every error says what has been done and how to continue. */
export async function carryOutRevert(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  plan: RevertPlan,
  job: OperationJob,
): Promise<void> {
  const { host, images, events } = context;
  const { snapshot, target, disks, definition, persistent } = plan;
  const { name } = domain.ref;
  await makeOverlays(context, snapshots, plan, job);
  const stopped = performance.now();
  /** For a guest that ran, and runs again. */
  const startedAgain = (): void => {
    if (isActive(domain)) job.paused(performance.now() - stopped);
  };
  try {
    await endOld(host, domain, job);
    await putDisksBack(images, snapshots, domain, plan, job);
  } catch (error) {
    // Nobody has written to the new overlays yet.
    const made = movesOnto(disks.overlays).map(({ disk, to }) => ({ ...to, disk }));
    const paths = made.map(({ path }) => `'${path}'`).join(', ');
    throw await undoAfterFailure(context, error, paths, async () => {
      await checkUndo(context, domain, made);
      await images.remove(made);
    });
  }
  let lost: unknown;
  if (target.kind === 'restore') {
    const { memoryPath, paused } = target;
    lost = await step(
      job,
      'restore',
      () => host.restore(domain, memoryPath, { paused, definition }),
      `the disks of domain '${name}' are reverted to snapshot '${snapshot.name}', its memory is not: the image is kept ` +
        `in ${memoryPath}; run snapshot-revert again, or boot the domain with start`,
    ).then(startedAgain, (error) => error);
  }
  if (domain.persistent) {
    await step(
      job,
      'define',
      () => host.define(persistent),
      `domain '${name}' is reverted to snapshot '${snapshot.name}', but for its persistent definition`,
    );
  }
  let left: unknown;
  try {
    if (lost) throw lost;
    if (target.kind === 'boot') {
      await step(
        job,
        'boot',
        () => host.start(domain, { paused: target.paused, definition: persistent }),
        `domain '${name}' is reverted to snapshot '${snapshot.name}' and shut off`,
      );
      startedAgain();
    }
  } finally {
    // Last of all, as in the qemu driver.
    const { ref } = await host.lookup(domain.ref).catch(() => domain);
    if (domain.persistent) events.emit(ref, LIFECYCLE.DEFINED_FROM_SNAPSHOT);
    left = await images.remove(disks.abandoned).catch((error) => error);
  }
  await step(
    job,
    'metadata',
    () => snapshots.setCurrent(snapshot.name),
    `domain '${name}' is reverted to snapshot '${snapshot.name}', which could not be recorded as the current one`,
  );
  const situation = `domain '${name}' is reverted to snapshot '${snapshot.name}'; overlays with what it had written before are left over`;
  if (left) throw explained(left, situation);
}

/**
 * New overlays are made while the old domain still runs: if that fails, nothing has changed. The snapshot's document will
 * name them, so it is written once before, to see whether it can be.
 */
async function makeOverlays(
  { images }: SnapshotContext,
  snapshots: DomainSnapshots,
  { snapshot, disks, open }: RevertPlan,
  job: OperationJob,
): Promise<void> {
  if (disks.overlays.length === 0) return;
  await snapshots.put(snapshot, false);
  await job.plan({ memory: false, disks: disks.overlays }, disks.abandoned);
  await job.phase('overlays');
  await images.create(snapshot.name, disks.overlays, open);
}

/** The point of no return, and the end of an active domain. */
async function endOld(host: SnapshotContext['host'], domain: Domain, job: OperationJob): Promise<void> {
  const { name } = domain.ref;
  if (isActive(domain)) await job.phase('destroy');
  try {
    job.commit();
  } catch (error) {
    throw explained(error, `domain '${name}' is as it was`);
  }
  if (!isActive(domain)) return;
  await orExplain(host.destroy(domain), `domain '${name}' may be shut off by now; its disks are as they were`);
}

async function putDisksBack(
  images: SnapshotContext['images'],
  snapshots: DomainSnapshots,
  { ref }: Domain,
  { snapshot, disks, internal }: RevertPlan,
  job: OperationJob,
): Promise<void> {
  await step(
    job,
    'disks',
    async () => {
      await images.apply(snapshot.name, internal);
      if (disks.overlays.length > 0) await snapshots.put(disks.snapshot, false);
    },
    `domain '${ref.name}' is shut off; mend the cause and run snapshot-revert of snapshot '${snapshot.name}' again`,
  );
}

/** Runs one phase of a revert; an error says what state things are in. */
async function step(job: OperationJob, phase: Phase, work: () => Promise<void>, situation: string): Promise<void> {
  await orExplain(job.phase(phase).then(work), situation);
}

async function orExplain(work: Promise<void>, situation: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw explained(error, situation);
  }
}
