/** virDomainSnapshotCreateXML without REDEFINE: the qemu driver's order of checks and decisions, on Xen. */

import { stat } from 'node:fs/promises';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { alignDisks } from '../model/align.ts';
import { type Domain, type DomainDisk, isActive } from '../model/domain.ts';
import { CREATE } from '../model/flags.ts';
import type { LibxlSnapshotTimings } from '../model/libxl.ts';
import type { SnapshotDef, SnapshotRequest } from '../model/snapshot.ts';
import { domainMemoryKib } from '../xml/domain.ts';
import { domainDisks } from '../xml/domain-disks.ts';
import { readSnapshotRequest } from '../xml/snapshot-read.ts';
import { checkCapture } from './capture-rules.ts';
import type { SnapshotContext } from './context.ts';
import { discardData } from './discard.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { OperationJob } from './jobs.ts';
import { fromLibxlSnapshot, toSnapshotArgs } from './libxl-args.ts';

/**
 * Takes a snapshot and returns its name. Everything is checked before the guest is touched; on an error nothing has
 * changed. `current` of the domain becomes the parent, and the new snapshot the current one.
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
    const plan = await define(context, snapshots, now, request, flags);
    if (snapshots.tree.has(request.name)) throw alreadyExists(request.name);
    if (!(flags & CREATE.NO_METADATA)) context.store.check(now.ref, plan.snapshot);
    const taken = await take(context, now, plan, flags, job);
    if (!(flags & CREATE.NO_METADATA)) await record(context, snapshots, now, taken, job);
    if (flags & CREATE.HALT && isActive(now)) {
      await job.phase('halt');
      await host.destroy(now);
    }
    return request.name;
  });
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

/** A snapshot to be taken, and the definition it is taken of. */
interface Plan {
  readonly snapshot: SnapshotDef;
  readonly disks: readonly DomainDisk[];
  readonly memoryKib: number;
}

/** The request with everything the domain knows: state, memory, full list of disks, both definitions, parent. */
async function define(
  { host }: SnapshotContext,
  { current }: DomainSnapshots,
  domain: Domain,
  request: SnapshotRequest,
  flags: number,
): Promise<Plan> {
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
    disks: aligned,
    revertDisks: [],
    domain: definition,
    ...(inactive && { inactiveDomain: inactive }),
    ...(current && { parent: current.name }),
  };
  checkCapture(snapshot, disks);
  return { snapshot, disks, memoryKib: domainMemoryKib(definition) };
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

/** Bytes to keep free beyond the guest's RAM: libvirt's header, page records and device state (measured: 1.6 % of RAM). */
const IMAGE_OVERHEAD = { share: 0.02, bytes: 2 * 1024 * 1024 } as const;

/** Carries the snapshot out: through the host where the domain is active, in the images where it is not. */
async function take(
  { host, images, memory }: SnapshotContext,
  domain: Domain,
  { snapshot, disks, memoryKib }: Plan,
  flags: number,
  job: OperationJob,
): Promise<SnapshotDef> {
  const args = toSnapshotArgs(snapshot, disks, {
    memoryPath: memory.path(domain.ref, snapshot.name),
    live: (flags & CREATE.LIVE) !== 0,
  });
  if (!isActive(domain)) {
    await images.checkFree(snapshot.name, args.disks ?? []);
    await job.phase('disks');
    await images.create(snapshot.name, args.disks ?? []);
    return snapshot;
  }
  await host.checkSave(domain, args);
  if (snapshot.memory.location === 'internal') {
    const bytes = Math.ceil(memoryKib * 1024 * (1 + IMAGE_OVERHEAD.share)) + IMAGE_OVERHEAD.bytes;
    await memory.prepare(domain.ref, snapshot.name, bytes);
  }
  try {
    const saved = await host.save(domain, snapshot.name, args, job);
    if (saved.timings) job.paused(pauseOf(saved.timings, args.live === true));
    return fromLibxlSnapshot(snapshot, saved);
  } catch (error) {
    await memory.tidy(domain.ref);
    throw error;
  }
}

/** How long the guest stood: from the suspend on, which a live one only ends with. */
function pauseOf({ suspend_ms = 0, disks_ms = 0, resume_ms }: LibxlSnapshotTimings, live: boolean): number {
  return (live ? 0 : suspend_ms) + (resume_ms ?? disks_ms);
}

/** Writes the metadata. Where that fails, or is cancelled, the snapshot is taken back: one that is not listed would only hold space. */
async function record(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  domain: Domain,
  snapshot: SnapshotDef,
  job: OperationJob,
): Promise<void> {
  await job.phase('metadata');
  try {
    job.commit();
    await snapshots.put(snapshot, true);
  } catch (error) {
    const { code, detail } = asLibvirtError(error);
    const left = await discardData(context, await context.host.lookup(domain.ref), snapshot).catch(asLibvirtError);
    throw left
      ? new LibvirtError(code, `${detail}; and its data is left behind: ${left.detail}`, { cause: error })
      : error;
  }
}
