/** What a create will do: the whole snapshot, and the parameters that say where each part goes. */

import { stat } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';
import { alignDisks } from '../../model/align.ts';
import type { Domain } from '../../model/domain.ts';
import { isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { DiskSnapshot, SnapshotDef, SnapshotRequest } from '../../model/snapshot.ts';
import { domainDisks } from '../../xml/domain/disks.ts';
import { domainMemoryKib } from '../../xml/domain/domain.ts';
import { toSnapshotArgs } from '../../xml/snapshot/libxl-args.ts';
import { regularFiles } from '../chains/files.ts';
import type { SnapshotContext } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { checkCapture } from './rules.ts';

/** An overlay on a block device needs one that is there: libvirt makes none. */
export async function checkTargets({ disks }: SnapshotDef): Promise<void> {
  for (const { name, location, target } of disks) {
    const { type, path } = target ?? {};
    if (location !== 'external' || type !== 'block' || path === undefined) continue;
    const found = await stat(path).catch(() => undefined);
    if (!found) throw new LibvirtError('OPERATION_UNSUPPORTED', `block device snapshot target '${path}' doesn't exist`);
    if (found.isBlockDevice()) continue;
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `external snapshot target '${path}' of disk ${name} is no block device`,
    );
  }
}

/** An overlay is qcow2 where nothing is said, and from then on that is said. */
export function withFormat(disk: DiskSnapshot): DiskSnapshot {
  const { location, target } = disk;
  return location === 'external' && target
    ? { ...disk, target: { ...target, format: target.format ?? 'qcow2' } }
    : disk;
}

/** The request with everything the domain knows: state, memory, full list of disks, both definitions, parent. */
export async function planOf(
  { host, memory: memoryImages }: SnapshotContext,
  { current }: DomainSnapshots,
  domain: Domain,
  request: SnapshotRequest,
  flags: number,
): Promise<CreatePlan> {
  checkLive(domain, request, flags);
  checkState(domain);
  const definition = await host.definition(domain, 'live');
  const inactive = isActive(domain) && domain.persistent ? await host.definition(domain, 'persistent') : undefined;
  const disks = domainDisks(definition);
  const { state, memory, location } = stateAndMemory(domain, request, flags);
  const aligned = alignDisks(request.disks, disks, {
    name: request.name,
    location,
    regularFiles: await regularFiles(disks),
  });
  const snapshot: SnapshotDef = {
    ...request,
    state,
    memory,
    disks: aligned.map(withFormat),
    revertDisks: [],
    domain: definition,
    ...(inactive && { inactiveDomain: inactive }),
    ...(current && { parent: current.name }),
  };
  checkCapture(snapshot, disks);
  await checkTargets(snapshot);
  const args = toSnapshotArgs(snapshot, disks, {
    memoryPath: memoryImages.path(domain.ref, snapshot.name),
    live: (flags & CREATE.LIVE) !== 0,
    reuse: (flags & CREATE.REUSE_EXT) !== 0,
  });
  return { snapshot, args, memoryKib: domainMemoryKib(definition) };
}

export function checkLive(domain: Domain, { memory }: SnapshotRequest, flags: number): void {
  if (!(flags & CREATE.LIVE)) return;
  if (isActive(domain) && memory.location !== 'no' && !(flags & CREATE.DISK_ONLY)) return;
  const text = 'live snapshot creation is supported only during full system snapshots';
  throw new LibvirtError('OPERATION_UNSUPPORTED', text);
}

export function checkState({ state }: Domain): void {
  if (state === 'nostate' || state === 'blocked') {
    throw new LibvirtError('INTERNAL_ERROR', `Invalid domain state ${state}`);
  }
  if (state === 'pmsuspended') {
    throw new LibvirtError('OPERATION_UNSUPPORTED', "libxl doesn't support taking snapshots of PMSUSPENDED guests");
  }
}

/*
 * request            domain    state           memory     default for disks
 * DISK_ONLY          active    disk-snapshot   no         external
 * DISK_ONLY          inactive  shutoff         no         external
 * memory external    active    the domain's    external   external
 * anything else      active    the domain's    internal   internal
 * anything else      inactive  shutoff         no         internal
 */
export function stateAndMemory(
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

/** A snapshot to be taken, and the parameters that say where all of it goes. */
export interface CreatePlan {
  readonly snapshot: SnapshotDef;
  readonly args: LibxlDomainSnapshotArgs;
  readonly memoryKib: number;
}
