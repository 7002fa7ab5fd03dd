/**
 * libxl_domain_snapshot_save: memory and disks of a guest in one point in time. The order serves every type of guest, and
 * after its third call a death of this program leaves a paused guest at worst, not a suspended one:
 *
 * | phase      | what is done in it                                   | guest                              |
 * |------------|------------------------------------------------------|------------------------------------|
 * | saving     | header, then libxl_domain_suspend into the image     | runs, then suspended in memory     |
 * | suspended  | libxl_domain_pause, libxl_domain_resume(cancel=1)    | paused, its devices active again   |
 * | paused     | internal snapshots of all disks, one transaction     | paused                             |
 * | disks-done | libxl_domain_unpause; fsync, rename, fsync of folder | runs                               |
 */

import { stat } from 'node:fs/promises';
import { createInternalSnapshots, describeDisks, type InternalSnapshotOptions } from '../disks/internal-snapshots.ts';
import { throwIfCancelled } from '../errors.ts';
import type {
  LibxlDiskSnapshot,
  LibxlDiskSnapshotResult,
  LibxlDomainSnapshot,
  LibxlDomainSnapshotArgs,
} from '../model/libxl.ts';
import { diskNodes, memoryPathOf, requireSavable } from './check.ts';
import { type LibxlSession, type Mechanism, type MemoryProgress, XEN } from './mechanism.ts';
import { PartialMemoryImage } from './memory-image.ts';
import type { DomainConfig, DomainInfo } from './protocol.ts';
import { type SaveState, undoSave } from './undo.ts';

/** The phases above; `disks` where no memory is saved. */
export type SavePhase = 'saving' | 'suspended' | 'paused' | 'disks-done' | 'disks';

/** What a save needs besides its parameters, and whom it tells of its progress. */
export interface SaveOptions {
  /** libvirt's live definition, for the header of the memory image. */
  readonly domainXml: string;
  /** Honoured until the disks are taken. */
  readonly signal: AbortSignal;
  /** Told of each phase, and waited for, before it starts. */
  phase(name: SavePhase): Promise<void>;
  progress(progress: MemoryProgress): void;
}

/** Refuses what domainSnapshotSave would refuse about the domain and the parameters. Reads only. */
export async function checkDomainSnapshotSave(
  domid: number,
  args: LibxlDomainSnapshotArgs,
  mechanism = XEN,
): Promise<void> {
  await using xen = mechanism.startHelper();
  await requireSavable(xen, domid, args);
}

/**
 * Takes the snapshot `name` of a domain that goes on running. After an error the guest runs, and neither an image nor a
 * disk snapshot is left; or the message says what is left and the command that repairs it.
 */
export async function domainSnapshotSave(
  domid: number,
  name: string,
  args: LibxlDomainSnapshotArgs,
  options: SaveOptions,
  mechanism = XEN,
): Promise<LibxlDomainSnapshot> {
  await using xen = mechanism.startHelper();
  const info = await requireSavable(xen, domid, args);
  const config = withoutDomid(await xen.domainConfig(domid));
  const disks = args.disks ?? [];
  const found = await prepareDisks(mechanism, domid, name, disks, options.signal);
  const snapshot = { name, config, ...(disks.length > 0 && { disks: found.results }) };
  if (memoryPathOf(args) !== undefined) {
    const save: Save = { mechanism, xen, domid, info, args, options, disks: found.disks };
    return { ...snapshot, ...(await saveMemoryAndDisks(save)) };
  }
  await options.phase('disks');
  const started = performance.now();
  await createInternalSnapshots(found.disks);
  return { ...snapshot, creation_time: now(), timings: { disks_ms: since(started) } };
}

interface Save {
  readonly mechanism: Mechanism;
  readonly xen: LibxlSession;
  readonly domid: number;
  readonly info: DomainInfo;
  readonly args: LibxlDomainSnapshotArgs;
  readonly options: SaveOptions;
  readonly disks: InternalSnapshotOptions;
}

async function saveMemoryAndDisks(save: Save): Promise<Omit<LibxlDomainSnapshot, 'name'>> {
  const { mechanism, xen, domid, args, options, disks } = save;
  const memory_path = memoryPathOf(args) as string;
  const state: SaveState = { held: { mayBeSuspended: false, paused: false } };
  try {
    await options.phase('saving');
    const image = await PartialMemoryImage.create(memory_path, options.domainXml);
    state.image = image;
    state.held = { mayBeSuspended: true, paused: false };
    const started = performance.now();
    await xen.suspend(domid, image.partialPath, args.live === true, {
      signal: options.signal,
      progress: () => void reportProgress(save, image),
    });
    const suspended = performance.now();
    const creation_time = now();

    await options.phase('suspended');
    state.held = { mayBeSuspended: true, paused: true };
    await xen.pause(domid);
    await xen.resume(domid);
    state.held = { mayBeSuspended: false, paused: true };

    await options.phase('paused');
    throwIfCancelled(options.signal);
    const disksStarted = performance.now();
    await createInternalSnapshots(disks);
    state.taken = { ...disks, disks: args.disks ?? [] };
    const disks_ms = since(disksStarted);

    await options.phase('disks-done');
    await xen.unpause(domid);
    state.held = { mayBeSuspended: false, paused: false };
    const resume_ms = since(suspended);
    const memory_bytes = await image.finish();
    options.progress({ done: memory_bytes, total: memory_bytes });
    const timings = { suspend_ms: Math.round(suspended - started), disks_ms, resume_ms };
    return { memory: true, memory_path, memory_bytes, creation_time, timings };
  } catch (error) {
    throw await undoSave(mechanism, xen, domid, state, error);
  }
}

/** The disks as QEMU has them, after the check that it can snapshot them under this name. */
async function prepareDisks(
  mechanism: Mechanism,
  domid: number,
  name: string,
  disks: readonly LibxlDiskSnapshot[],
  signal: AbortSignal,
): Promise<{ readonly disks: InternalSnapshotOptions; readonly results: readonly LibxlDiskSnapshotResult[] }> {
  const nodes = diskNodes(disks);
  if (nodes.length === 0) return { disks: { socket: '', name, nodes, signal }, results: [] };
  const options = { socket: await mechanism.qmpSocketOf(domid), name, nodes, signal };
  return { disks: options, results: await describeDisks(options, disks) };
}

async function reportProgress({ info, options }: Save, image: PartialMemoryImage): Promise<void> {
  // The last report may come when the image has its final name.
  const done = await stat(image.partialPath).then(
    ({ size }) => size,
    () => 0,
  );
  if (done > 0) options.progress({ done, total: Math.max(done, (info.current_memkb ?? 0) * 1024) });
}

/** A domid must not be asked for again: libxl keeps one from being used twice within a minute. */
function withoutDomid(config: DomainConfig): DomainConfig {
  const { domid: _, ...c_info } = config.c_info as Record<string, unknown>;
  return { ...config, c_info };
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function since(start: number): number {
  return Math.round(performance.now() - start);
}
