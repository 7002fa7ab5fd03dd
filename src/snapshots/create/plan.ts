/** Plans a create: the whole snapshot, and the parameters with the place of each part. */

import { LibvirtError } from '../../errors.ts';
import { alignDisks } from '../../model/align-disks.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { shellWord } from '../../model/messages/shell-command.ts';
import type { DiskSnapshot, SnapshotDef, SnapshotRequest } from '../../model/snapshot.ts';
import { toSnapshotArgs } from '../../xml/snapshot/libxl-args.ts';
import { regularFiles } from '../chains/files.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';

/** Everything that is decided before anything is touched. */
export interface CreatePlan {
  readonly snapshot: CompleteSnapshot;
  readonly args: LibxlDomainSnapshotArgs;
}

/** A snapshot with the domain's definition. */
export type CompleteSnapshot = SnapshotDef & Required<Pick<SnapshotDef, 'domain'>>;

/** The request with everything the domain adds: state, memory, full list of disks, both definitions, parent. */
export async function planCreate(
  { host, memory: memoryImages }: SnapshotContext,
  { current }: DomainSnapshots,
  domain: Domain,
  request: SnapshotRequest,
  flags: number,
): Promise<CreatePlan> {
  const definition = await host.definition(domain, 'live');
  const inactive = isActive(domain) && domain.persistent ? await host.definition(domain, 'persistent') : undefined;
  const { disks } = definition;
  const { state, memory, location } = stateAndMemory(domain, request, flags);
  const aligned = alignDisks(request.disks, disks, {
    name: request.name,
    location,
    regularFiles: await regularFiles(disks),
    // Software that takes external snapshots unless it is told otherwise ends there with LVM and ZFS volumes.
    forVolume: ({ target }) =>
      `; for a snapshot of the volume itself: --diskspec ${shellWord(target)},snapshot=internal`,
  });
  const snapshot: CompleteSnapshot = {
    ...request,
    state,
    memory,
    disks: aligned.map(withFormat),
    revertDisks: [],
    domain: definition,
    ...(inactive && { inactiveDomain: inactive }),
    ...(current && { parent: current.name }),
  };
  const args = toSnapshotArgs(snapshot, disks, {
    memoryPath: memoryImages.path(domain.ref, snapshot.name),
    live: (flags & CREATE.LIVE) !== 0,
    reuse: (flags & CREATE.REUSE_EXT) !== 0,
  });
  return { snapshot, args };
}

/** An overlay is qcow2 unless a format is given; the snapshot's document says so from then on. */
function withFormat(disk: DiskSnapshot): DiskSnapshot {
  const { location, target } = disk;
  return location === 'external' && target
    ? { ...disk, target: { ...target, format: target.format ?? 'qcow2' } }
    : disk;
}

/*
 * request            domain    state           memory     default for disks
 * DISK_ONLY          active    disk-snapshot   no         external
 * DISK_ONLY          inactive  shutoff         no         external
 * memory external    active    the domain's    external   external
 * anything else      active    the domain's    internal   internal
 * anything else      inactive  shutoff         no         internal
 */
function stateAndMemory(
  domain: Domain,
  { memory }: SnapshotRequest,
  flags: number,
): Pick<SnapshotDef, 'state' | 'memory'> & { readonly location: 'internal' | 'external' } {
  const active = isActive(domain);
  if (flags & CREATE.DISK_ONLY) {
    return { state: active ? 'disk-snapshot' : 'shutoff', memory: { location: 'no' }, location: 'external' };
  }
  if (memory.location === 'external') return { state: domain.state, memory, location: 'external' };
  if (!active) return { state: domain.state, memory: { location: 'no' }, location: 'internal' };
  if (memory.location === 'no') {
    const text = 'internal snapshot of a running VM must include the memory state';
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  return { state: domain.state, memory: { location: 'internal' }, location: 'internal' };
}
