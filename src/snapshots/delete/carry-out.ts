/** Takes a snapshot's data away: what it holds inside disk images, the layers it made, and the memory image. */

import { explained, LibvirtError } from '../../errors.ts';
import { type Domain, type DomainDisk, isActive } from '../../model/domain.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { domainDisks } from '../../xml/domain/disks.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import { moveDisks } from '../chains/move-disks.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { memoryPathOf } from '../memory-path.ts';
import type { Job } from '../ports.ts';
import { whileMarked } from './in-progress-mark.ts';
import { type Merge, movesOff, type PlannedMerge, restated } from './plan.ts';

/** What reaches the disks while data is taken away. */
type Progress = Pick<Job, 'signal' | 'progress'>;

interface Discarded {
  readonly domain: Domain;
  readonly snapshot: SnapshotDef;
  /** Undefined for a snapshot without layers. */
  readonly merge: PlannedMerge | undefined;
}

/**
 * Idempotent: what is already gone is no error. Refuses (84) where the domain runs on other images than an internal
 * snapshot was taken in, since those cannot be reached through its device model. The definitions of the domain and of
 * its other snapshots follow the layers that are merged.
 */
export async function discardData(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  { domain, snapshot, merge }: Discarded,
  job: Progress,
): Promise<void> {
  const { host, images, memory } = context;
  const captured = capturedDisks(snapshot).filter(({ external }) => !external);
  if (captured.length > 0) {
    if (isActive(domain)) {
      checkSameImages(snapshot, captured, domainDisks(await host.definition(domain, 'live')));
      await host.deleteDiskSnapshots(domain, snapshot.name, captured);
    } else {
      await images.delete(snapshot.name, captured);
    }
  }
  if (merge) {
    const inPart = (error: unknown) => deletedInPart(error, domain, snapshot.name);
    await whileMarked(
      snapshots,
      snapshot,
      merge.plan,
      () => mergeLayers(context, snapshots, domain, merge, job),
      inPart,
    );
  }
  try {
    if (snapshot.memory.location === 'external') {
      const { file } = snapshot.memory;
      if (!isNamedElsewhere(snapshots, snapshot, file)) await memory.removeFile(file);
    } else await memory.remove(domain.ref, snapshot.name);
  } catch (error) {
    throw deletedInPart(error, domain, snapshot.name);
  }
}

/** A snapshot that was cloned or redefined may share its memory with another one. */
function isNamedElsewhere({ tree }: DomainSnapshots, { name }: SnapshotDef, file: string): boolean {
  return tree
    .all()
    .some(({ name: other, memory }) => other !== name && memory.location === 'external' && memory.file === file);
}

/** Such a snapshot is still listed, and cannot be reverted to. */
export function deletedInPart(error: unknown, { ref }: Domain, name: string): LibvirtError {
  return explained(error, `snapshot '${name}' of domain '${ref.name}' is deleted in part: run snapshot-delete again`);
}

/** The definitions name a layer until it is merged, and the one beneath it right afterwards. */
async function mergeLayers(
  { host, images, memory }: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  { plan, others }: PlannedMerge,
  job: Progress,
): Promise<void> {
  if (isActive(domain)) await host.commit(domain, plan.own, job);
  else await images.commit(plan.own, job);
  await moveDisks(host, domain, 'live', movesOff(plan.own));
  await moveDisks(host, domain, 'persistent', movesOff(plan.own));
  await images.commit(plan.others, job);
  await moveDisks(host, domain, 'persistent', movesOff(plan.others));
  for (const { image, base } of plan.rebased) await images.rebase(image, base);
  const rewritten = rewrittenImages(plan);
  for (const other of others) {
    const standing = restated(other, plan);
    if (standing) await snapshots.put(standing, false);
    const { name } = other;
    const disks = capturedDisks(standing ?? other);
    const path = memoryPathOf(memory, domain, standing ?? other);
    const changed = standing || disks.some(({ disk }) => rewritten.has(disk.pdev_path ?? ''));
    if (!changed || path === undefined) continue;
    await memory.check(path);
    await host.retie({ path, name, disks });
  }
  await images.remove(plan.unused);
}

/** Images whose header names another backing image now: not what a guest reads of them, but the files have changed. */
function rewrittenImages({ own, others, rebased }: Merge): ReadonlySet<string> {
  const above = [...own, ...others].flatMap((layer) => layer.above?.path ?? []);
  return new Set([...above, ...rebased.map(({ image }) => image.path)]);
}

function checkSameImages(
  { name }: SnapshotDef,
  captured: readonly LibxlDiskSnapshot[],
  now: readonly DomainDisk[],
): void {
  for (const { disk } of captured) {
    if (disk.pdev_path === now.find(({ target }) => target === disk.vdev)?.path) continue;
    throw new LibvirtError(
      'OPERATION_UNSUPPORTED',
      `disk image '${disk.pdev_path ?? ''}' for internal snapshot '${name}' is not the same as disk image currently used by VM`,
    );
  }
}
