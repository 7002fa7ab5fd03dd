/** What a revert will do: which state the domain ends in, which disks go back, and from what. */

import { lstat } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';
import type { Domain } from '../../model/domain.ts';
import type { XmlElement } from '../../model/element.ts';
import { REVERT } from '../../model/flags.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import { renamed } from '../../xml/domain/domain.ts';
import { diskImages, withDiskImages } from '../../xml/domain/images.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import { layeredSnapshots } from '../chains/read-chains.ts';
import { sharedImages } from '../chains/shared-images.ts';
import { externalDisks, overlaysOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { memoryPathOf } from '../memory-path.ts';
import type { RevertDisks, RevertFrom } from './plan-disks.ts';
import { planRevertDisks } from './plan-disks.ts';
import { checkInternalImages, hasMovedOn, lacksDefinition } from './rules.ts';

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
export type Target =
  | { readonly kind: 'restore'; readonly paused: boolean; readonly memoryPath: string }
  | { readonly kind: 'boot'; readonly paused: boolean }
  | { readonly kind: 'off' };

/** Everything that is decided before anything is touched. */
export interface Plan {
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

export async function planRevert(
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
export async function freeSuffix(snapshot: SnapshotDef, from: Omit<RevertFrom, 'suffix'>): Promise<string> {
  for (let suffix = Math.floor(Date.now() / 1000); ; suffix += 1) {
    const { overlays } = planRevertDisks(snapshot, { ...from, suffix: String(suffix) });
    const paths = overlays.flatMap(({ external_path }) => external_path ?? []);
    const found = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
    if (found.every((file) => file === undefined)) return String(suffix);
  }
}

export async function presentOverlays(snapshot: SnapshotDef): Promise<ReadonlySet<string>> {
  const paths = externalDisks(snapshot).flatMap((disk) => overlaysOf(snapshot, disk).map(({ path }) => path));
  const found = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined)));
  return new Set(paths.filter((_, index) => found[index] !== undefined));
}

export function targetOf({ memory }: SnapshotContext, domain: Domain, snapshot: SnapshotDef, flags: number): Target {
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
