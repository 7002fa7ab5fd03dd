/**
 * virDomainRevertToSnapshot. Everything that could make it fail is checked while the old domain still runs; then, in
 * this order, the old domain ends, the disks go back, the new domain starts from the snapshot's memory or from nothing.
 */

import { lstat } from 'node:fs/promises';
import { explained, LibvirtError } from '../errors.ts';
import { movesOnto } from '../model/disk-moves.ts';
import { type Domain, isActive } from '../model/domain.ts';
import type { XmlElement } from '../model/element.ts';
import { LIFECYCLE } from '../model/events.ts';
import { REVERT } from '../model/flags.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import type { Phase } from '../model/phases.ts';
import type { SnapshotDef } from '../model/snapshot.ts';
import { renamed } from '../xml/domain.ts';
import { diskImages, withDiskImages } from '../xml/domain-images.ts';
import type { Looking, SnapshotContext } from './context.ts';
import { checkOwner, type DomainSnapshots } from './domain-snapshots.ts';
import type { OperationJob } from './jobs.ts';
import { externalDisks, overlaysOf } from './layers.ts';
import { capturedDisks, memoryPathOf } from './libxl-args.ts';
import { planRevertDisks, type RevertDisks, type RevertFrom } from './revert-disks.ts';
import { checkInternalImages, checkLayers, checkRevert, hasMovedOn, lacksDefinition } from './revert-rules.ts';
import { sharedImages } from './shared-images.ts';
import { layeredSnapshots } from './standing.ts';
import { alsoOnFailure } from './take-back.ts';

/**
 * Where a revert ends up.
 *
 * snapshot        flags      the domain is then
 * running         –          running, from memory
 * running         PAUSED     paused, from memory
 * paused          –          paused, from memory
 * paused          RUNNING    running, from memory
 * shutoff         –          shut off
 * shutoff         RUNNING    running, booted
 * shutoff         PAUSED     paused, booted
 * disk-snapshot   as shutoff
 */
type Target =
  | { readonly kind: 'restore'; readonly paused: boolean; readonly memoryPath: string }
  | { readonly kind: 'boot'; readonly paused: boolean }
  | { readonly kind: 'off' };

export async function revertToSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  snapshots.find(name);
  await context.jobs.run(snapshots.ref, { operation: 'revert', snapshot: name, flags }, async (job) => {
    const domain = await context.host.lookup(snapshots.ref);
    const snapshot = await snapshots.read(snapshots.find(name).name);
    checkOwner(snapshots.ref, snapshot);
    checkRevert(domain, snapshot, flags);
    await job.phase('validate');
    const plan = await planRevert(context, snapshots, domain, snapshot, flags);
    const open = await openImages(context, domain);
    await validate(context, domain, plan, open);
    await checkLayers(context, snapshot, plan.others, flags);
    // Its document will name the new overlays: whether it can be written is seen while the guest still runs.
    if (plan.disks.overlays.length > 0) await snapshots.put(snapshot, false);
    await makeOverlays(context, plan, open, job);
    await carryOut(context, snapshots, domain, plan, job);
  });
}

/** Everything that is decided before anything is touched. */
interface Plan {
  readonly snapshot: SnapshotDef;
  readonly target: Target;
  readonly disks: RevertDisks;
  /** The domain's other snapshots, where layers may matter. */
  readonly others: readonly SnapshotDef[];
  /** Whose contents are put back. */
  readonly internal: readonly LibxlDiskSnapshot[];
  /** The domain's live definition afterwards, and its persistent one. */
  readonly definition: XmlElement;
  readonly persistent: XmlElement;
}

async function planRevert(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  snapshot: SnapshotDef,
  flags: number,
): Promise<Plan> {
  const tips = diskImages(await context.host.definition(domain, 'live'));
  const others = await layeredSnapshots(snapshots, { besides: snapshot.name, unlayered: hasMovedOn(snapshot, tips) });
  await checkInternalImages(context, domain, snapshot, { tips, others });
  const present = await presentOverlays(snapshot);
  const from = { tips, others, present };
  const planned = planRevertDisks(snapshot, { ...from, suffix: await freeSuffix(snapshot, from) });
  const abandoned = planned.abandoned.map(({ path }) => path);
  const shared = await sharedImages(context, domain, abandoned);
  const disks = { ...planned, abandoned: planned.abandoned.filter(({ path }) => !shared.has(path)) };
  const { domain: live, inactiveDomain = live } = snapshot;
  if (!live || !inactiveDomain) throw lacksDefinition(domain, snapshot);
  const now = (definition: XmlElement): XmlElement =>
    withDiskImages(renamed(definition, domain.ref.name), disks.images);
  return {
    snapshot,
    target: targetOf(context, domain, snapshot, flags),
    disks,
    others,
    internal: capturedDisks(snapshot).filter(({ external }) => !external),
    definition: now(live),
    persistent: now(inactiveDomain),
  };
}

/** libvirt's: seconds since the epoch; the next free ones where overlays of that name are there. */
async function freeSuffix(snapshot: SnapshotDef, from: Omit<RevertFrom, 'suffix'>): Promise<string> {
  for (let suffix = Math.floor(Date.now() / 1000); ; suffix += 1) {
    const { overlays } = planRevertDisks(snapshot, { ...from, suffix: String(suffix) });
    const paths = overlays.flatMap(({ external_path }) => external_path ?? []);
    const found = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
    if (found.every((file) => file === undefined)) return String(suffix);
  }
}

async function presentOverlays(snapshot: SnapshotDef): Promise<ReadonlySet<string>> {
  const paths = externalDisks(snapshot).flatMap((disk) => overlaysOf(snapshot, disk).map(({ path }) => path));
  const found = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
  return new Set(paths.filter((_, index) => found[index] !== undefined));
}

function targetOf({ memory }: SnapshotContext, domain: Domain, snapshot: SnapshotDef, flags: number): Target {
  const asked = flags & REVERT.RUNNING ? 'running' : flags & REVERT.PAUSED ? 'paused' : undefined;
  switch (snapshot.state) {
    case 'running':
    case 'paused':
      return {
        kind: 'restore',
        paused: (asked ?? snapshot.state) === 'paused',
        memoryPath: memoryPathOf(memory, domain, snapshot) ?? memory.path(domain.ref, snapshot.name),
      };
    case 'shutdown':
    case 'shutoff':
    case 'crashed':
    case 'disk-snapshot':
      return asked ? { kind: 'boot', paused: asked === 'paused' } : { kind: 'off' };
    default:
      throw new LibvirtError(
        'INTERNAL_ERROR',
        `Invalid target domain state '${snapshot.state}'. Refusing snapshot reversion`,
      );
  }
}

/** Reads everything that will be needed. Changes nothing. */
async function validate(
  { host, images, memory }: SnapshotContext,
  domain: Domain,
  plan: Plan,
  open: ReadonlySet<string>,
): Promise<void> {
  const { snapshot, target, definition } = plan;
  await images.check(snapshot.name, capturedDisks(snapshot), open);
  await images.checkFree(snapshot.name, plan.disks.overlays);
  if (target.kind !== 'restore') return;
  await memory.check(target.memoryPath);
  const saved = { path: target.memoryPath, name: snapshot.name, disks: capturedDisks(snapshot) };
  await host.checkRestore(domain, saved, definition);
}

/**
 * Images that the domain has open itself: they are free once it has ended. Those beneath an overlay, too: nobody else
 * writes to them meanwhile, and after a merge that failed its device model may still hold them for writing.
 */
async function openImages({ host, images }: Looking, domain: Domain): Promise<ReadonlySet<string>> {
  if (!isActive(domain)) return new Set();
  const open = new Set<string>();
  for (const tip of diskImages(await host.definition(domain, 'live')).values()) {
    for (const { path } of await images.chain(tip).catch(() => [tip])) open.add(path);
  }
  return open;
}

/** New overlays are made while the old domain still runs: where one cannot be made, nothing has changed. */
async function makeOverlays(
  { images }: SnapshotContext,
  { snapshot, disks }: Plan,
  open: ReadonlySet<string>,
  job: OperationJob,
): Promise<void> {
  if (disks.overlays.length === 0) return;
  await job.plan({ memory: false, disks: disks.overlays }, disks.abandoned);
  await job.phase('overlays');
  await images.create(snapshot.name, disks.overlays, open);
}

/** From here on the old state is gone: every error says what has been done and how to go on. */
async function carryOut(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  plan: Plan,
  job: OperationJob,
): Promise<void> {
  const { host, images, events } = context;
  const { snapshot, target, disks, definition, persistent } = plan;
  const { name } = domain.ref;
  try {
    await endOld(host, domain, job);
    await putDisksBack(images, snapshots, domain, plan, job);
  } catch (error) {
    // Nobody has written to them yet.
    const made = movesOnto(disks.overlays).map(({ to }) => to);
    await alsoOnFailure(context, error, disks.overlays, () => images.remove(made));
    throw error;
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
    ).then(
      () => undefined,
      (error) => error,
    );
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
    }
  } finally {
    // Last of all, as the qemu driver tells it.
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
  const situation = `domain '${name}' is reverted to snapshot '${snapshot.name}'; what it had written before is left behind`;
  if (left) throw explained(left, situation);
}

/** The point of no return, and the end of the old domain, where it is active. */
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
  { snapshot, disks, internal }: Plan,
  job: OperationJob,
): Promise<void> {
  await step(
    job,
    'disks',
    async () => {
      await images.apply(snapshot.name, internal);
      if (disks.overlays.length > 0) await snapshots.put(disks.snapshot, false);
    },
    `domain '${ref.name}' is shut off and its disks may be partly reverted to snapshot '${snapshot.name}'; ` +
      `mend the cause and run snapshot-revert again`,
  );
}

/** A phase and what is done in it; an error of either says what state things are in. */
async function step(job: OperationJob, phase: Phase, work: () => Promise<void>, situation: string): Promise<void> {
  await orExplain(job.phase(phase).then(work), situation);
}

/** Adds to an error what state things are in. */
async function orExplain(work: Promise<void>, situation: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw explained(error, situation);
  }
}
