/** virDomainSnapshotCreateXML without REDEFINE: the qemu driver's order of checks and decisions, on Xen. */

import { stat } from 'node:fs/promises';
import { explained, LibvirtError } from '../errors.ts';
import { alignDisks } from '../model/align.ts';
import { type Domain, type DomainDisk, isActive } from '../model/domain.ts';
import { CREATE } from '../model/flags.ts';
import type { DiskSnapshot, SnapshotDef, SnapshotRequest } from '../model/snapshot.ts';
import { domainMemoryKib } from '../xml/domain.ts';
import { domainDisks } from '../xml/domain-disks.ts';
import { readSnapshotRequest } from '../xml/snapshot-read.ts';
import { checkCapture } from './capture-rules.ts';
import type { SnapshotContext } from './context.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { OperationJob } from './jobs.ts';
import { externalDisks, overlaysOf } from './layers.ts';
import { toSnapshotArgs } from './libxl-args.ts';
import { checkNoManagedSave } from './managed-save.ts';
import { checkMemoryFile } from './memory-file.ts';
import { sharedImages } from './shared-images.ts';
import { type CreatePlan, record, take } from './take.ts';

/**
 * Takes a snapshot and returns its name. Everything is checked before the guest is touched; on an error nothing has
 * changed, or the message says what has. `current` of the domain becomes the parent, and the new snapshot the current one.
 */
export async function createSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  xml: string,
  flags: number,
): Promise<string> {
  const { host, jobs } = context;
  const { ref } = snapshots;
  const domain = await host.lookup(ref);
  if (flags & CREATE.HALT && !domain.persistent) {
    throw new LibvirtError('OPERATION_INVALID', 'cannot halt after transient domain snapshot');
  }
  const offline = (flags & CREATE.DISK_ONLY) !== 0 || !isActive(domain);
  const request = await readSnapshotRequest(xml, { offline, now: BigInt(Math.floor(Date.now() / 1000)) });
  if (flags & CREATE.NO_METADATA) checkNameLength(request.name);
  else checkName(request.name);
  return await jobs.run(domain.ref, { operation: 'create', snapshot: request.name, flags }, async (job) => {
    const now = await host.lookup(ref);
    const plan = await planOf(context, snapshots, now, request, flags);
    if (externalDisks(plan.snapshot).length > 0) checkNoManagedSave(now, 'an external snapshot');
    await checkMemoryFile(context, snapshots, plan.snapshot);
    if (flags & CREATE.REUSE_EXT) await checkReused(context, now, plan);
    await context.images.checkFree(
      request.name,
      (plan.args.disks ?? []).filter(({ external }) => external),
    );
    if (snapshots.tree.has(request.name)) throw alreadyExists(request.name);
    if (!(flags & CREATE.NO_METADATA)) context.store.check(now.ref, plan.snapshot);
    const taken = await take(context, now, plan, flags, job);
    await record(context, snapshots, now, plan, taken, flags, job);
    if (flags & CREATE.HALT && isActive(now)) await halt(context, await host.lookup(ref), request.name, job);
    return request.name;
  });
}

/** A file that the user gives as overlay is rewritten: refused where another domain stands on it, though it be off. */
async function checkReused(context: SnapshotContext, domain: Domain, { snapshot }: CreatePlan): Promise<void> {
  const paths = externalDisks(snapshot).flatMap((disk) => overlaysOf(snapshot, disk).map(({ path }) => path));
  for (const [path, other] of await sharedImages(context, domain, paths)) {
    throw new LibvirtError(
      'CONFIG_UNSUPPORTED',
      `cannot use existing file '${path}' as overlay of domain '${domain.ref.name}': domain '${other.ref.name}' stands on it`,
    );
  }
}

async function halt({ host }: SnapshotContext, domain: Domain, name: string, job: OperationJob): Promise<void> {
  try {
    await job.phase('halt');
    await host.destroy(domain);
  } catch (error) {
    throw explained(error, `snapshot '${name}' of domain '${domain.ref.name}' is taken, and the domain was not halted`);
  }
}

/** What is left of a file name's 255 bytes when the longest of our suffixes is taken off. qemu-img would cut the name. */
const NAME_BYTES = 255 - '.save.partial'.length;

/** Names become file names: libvirt's two rules (virDomainMomentDefPostParse, code 35), and what a file name can hold. */
export function checkName(name: string): void {
  if (name.includes('/')) throw invalidName(name, "name can't contain '/'");
  if (name.startsWith('.')) throw invalidName(name, "name can't start with '.'");
  checkNameLength(name);
}

function checkNameLength(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES) throw invalidName(name, `name can't be longer than ${NAME_BYTES} bytes, and has ${bytes}`);
}

function invalidName(name: string, reason: string): LibvirtError {
  return new LibvirtError('XML_DETAIL', `invalid snapshot name '${name}': ${reason}`, { domain: 'DOMAIN_SNAPSHOT' });
}

function alreadyExists(name: string): LibvirtError {
  return new LibvirtError('OPERATION_FAILED', `domain moment ${name} already exists`, { domain: 'DOMAIN' });
}

/** An overlay on a block device needs one that is there: libvirt makes none. */
async function checkTargets({ disks }: SnapshotDef): Promise<void> {
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
function withFormat(disk: DiskSnapshot): DiskSnapshot {
  const { location, target } = disk;
  return location === 'external' && target
    ? { ...disk, target: { ...target, format: target.format ?? 'qcow2' } }
    : disk;
}

/** The request with everything the domain knows: state, memory, full list of disks, both definitions, parent. */
async function planOf(
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

function checkLive(domain: Domain, { memory }: SnapshotRequest, flags: number): void {
  if (!(flags & CREATE.LIVE)) return;
  if (isActive(domain) && memory.location !== 'no' && !(flags & CREATE.DISK_ONLY)) return;
  const text = 'live snapshot creation is supported only during full system snapshots';
  throw new LibvirtError('OPERATION_UNSUPPORTED', text);
}

function checkState({ state }: Domain): void {
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

/** Paths of the disks behind which there is a regular file: names for overlays are made of those. */
export async function regularFiles(disks: readonly DomainDisk[]): Promise<ReadonlySet<string>> {
  const paths = disks.flatMap(({ path }) => path ?? []);
  const found = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return new Set(paths.filter((_, index) => found[index]?.isFile()));
}
