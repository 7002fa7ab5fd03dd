/** Plans a revert: the state that the domain ends in, and the disks that are reverted, from which images. */

import { lstat } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain, DomainDefinition } from '../../model/domain.ts';
import { REVERT } from '../../model/flags.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';
import { renamed, withDiskImages } from '../../xml/domain/definition.ts';
import { internalDisks } from '../../xml/snapshot/libxl-args.ts';
import { openImages } from '../chains/files.ts';
import { layeredSnapshots } from '../chains/read-chains.ts';
import { sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { checkBasePath, checkImagePath } from '../name-rules.ts';
import { checkInternalImages, internalImages } from './image-rules.ts';
import { planRevertDisks, type RevertDisks, type RevertFrom } from './plan-disks.ts';

/**
 * The state after a revert.
 *
 * snapshot        flags      the domain afterwards
 * running         –          running, from memory
 * running         PAUSED     paused, from memory
 * paused          –          paused, from memory
 * paused          RUNNING    running, from memory
 * shutoff         –          shut off
 * shutoff         RUNNING    running, booted
 * shutoff         PAUSED     paused, booted
 * disk-snapshot   as shutoff
 */
export type Target =
  | { readonly kind: 'restore'; readonly paused: boolean; readonly memoryPath: string }
  | { readonly kind: 'boot'; readonly paused: boolean }
  | { readonly kind: 'off' };

/** A snapshot with the domain's definition in it: without one nothing can be reverted to. */
export type RevertibleSnapshot = SnapshotDef & Required<Pick<SnapshotDef, 'domain'>>;

/** Everything that is decided before anything is touched. */
export interface RevertPlan {
  readonly snapshot: RevertibleSnapshot;
  readonly target: Target;
  readonly disks: RevertDisks;
  /** The domain's other snapshots, if overlays may matter. */
  readonly others: readonly SnapshotDef[];
  /** The internal disk snapshots that are reverted to. */
  readonly internal: readonly LibxlDiskSnapshot[];
  /** Paths of the images that the domain has open itself. */
  readonly open: ReadonlySet<string>;
  /** The domain's live definition afterwards, and its persistent one. */
  readonly definition: DomainDefinition;
  readonly persistent: DomainDefinition;
}

/** Refuses (55, 84) to overwrite what others use; see checkInternalImages. Reads only. */
export async function planRevert(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  snapshot: RevertibleSnapshot,
  flags: number,
): Promise<RevertPlan> {
  const { images: tips } = await context.host.definition(domain, 'live');
  const others = await layeredSnapshots(snapshots, { besides: snapshot.name, unlayered: hasMovedOn(snapshot, tips) });
  await checkInternalImages(context, domain, snapshot, { tips, others });
  const present = await presentOverlays(snapshot);
  const from = { tips, others, present };
  const planned = planRevertDisks(snapshot, { ...from, suffix: await freeSuffix(snapshot, from) });
  for (const { disk, external_path: path = '' } of planned.overlays) {
    const overlay = { disk: disk.vdev, path };
    checkImagePath('overlay', overlay, snapshot.domain, `the snapshot's image needs another folder or name first`);
    checkBasePath({ disk: disk.vdev, path: disk.pdev_path ?? '' });
  }
  const abandoned = [...tips].flatMap(([disk, { path }]) =>
    planned.abandoned.some((overlay) => overlay.path === path) ? [{ disk, path }] : [],
  );
  const shared = await sharedImages(context, domain, abandoned);
  const disks = { ...planned, abandoned: planned.abandoned.filter(({ path }) => !shared.has(path)) };
  const { domain: live, inactiveDomain = live } = snapshot;
  const now = (definition: DomainDefinition): DomainDefinition =>
    withDiskImages(renamed(definition, domain.ref.name), disks.images);
  return {
    snapshot,
    target: targetOf(context, domain, snapshot, flags),
    disks,
    others,
    internal: internalDisks(snapshot),
    // These are free once the domain has ended, those of the backing chains, too: nobody else writes to them, and after a
    // failed merge the device model may still hold them for writing.
    open: await openImages(context, domain, tips.values()),
    definition: now(live),
    persistent: now(inactiveDomain),
  };
}

/** True if the domain no longer uses an image that an internal snapshot is in: others may use it by now. */
function hasMovedOn(snapshot: SnapshotDef, tips: ReadonlyMap<string, DiskImage>): boolean {
  return [...internalImages(snapshot)].some(([disk, { path }]) => tips.get(disk)?.path !== path);
}

/** The suffix that libvirt chooses, seconds since the epoch; a later one if there are overlays of that name already. */
async function freeSuffix(snapshot: SnapshotDef, from: Omit<RevertFrom, 'suffix'>): Promise<string> {
  for (let suffix = Math.floor(Date.now() / 1000); ; suffix += 1) {
    const { overlays } = planRevertDisks(snapshot, { ...from, suffix: String(suffix) });
    const existing = await existingFiles(overlays.flatMap(({ external_path }) => external_path ?? []));
    if (existing.size === 0) return String(suffix);
  }
}

function presentOverlays(snapshot: SnapshotDef): Promise<ReadonlySet<string>> {
  return existingFiles(externalDisks(snapshot).flatMap((disk) => overlaysOf(snapshot, disk).map(({ path }) => path)));
}

/** Returns those of the paths that exist, dangling links included. */
async function existingFiles(paths: readonly string[]): Promise<ReadonlySet<string>> {
  const found = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
  return new Set(paths.filter((_, index) => found[index] !== undefined));
}

function targetOf({ memory }: SnapshotContext, domain: Domain, snapshot: SnapshotDef, flags: number): Target {
  const asked = flags & REVERT.RUNNING ? 'running' : flags & REVERT.PAUSED ? 'paused' : undefined;
  switch (snapshot.state) {
    case 'running':
    case 'paused': {
      const internal = memory.path(domain.ref, snapshot.name);
      const memoryPath = memoryPathOf(snapshot, internal) ?? internal;
      return { kind: 'restore', paused: (asked ?? snapshot.state) === 'paused', memoryPath };
    }
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
