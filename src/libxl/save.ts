/**
 * libxl_domain_snapshot_save: memory and disks of a guest in one point in time. The order serves every type of guest, and
 * after its third call a death of this program leaves a paused guest at worst, not a suspended one:
 *
 * | phase      | what is done in it                                   | guest                              |
 * |------------|------------------------------------------------------|------------------------------------|
 * | saving     | header, then libxl_domain_suspend into the image     | runs, then suspended in memory     |
 * | suspended  | libxl_domain_pause, libxl_domain_resume(cancel=1)    | paused, its devices active again   |
 * | paused     | snapshots of all disks, in one transaction           | paused                             |
 * | disks-done | libxl_domain_unpause; fsync, rename, fsync of folder | runs                               |
 *
 * Without memory there is one phase, `disks`: nothing is suspended, and the guest is paused only if its disks cannot be
 * taken in one transaction; that is phase `paused` again.
 */

import { checkLiveSnapshots, LiveSnapshots } from '../disks/live-snapshots.ts';
import { neverAborted } from '../errors.ts';
import { PartialMemoryImage } from '../memory/partial-image.ts';
import { requestedMemoryPath } from '../memory/requested-path.ts';
import { tieOf } from '../memory/tie.ts';
import type { LibxlDiskSnapshotResult, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import { memoryImageBytes } from '../model/memory-size.ts';
import { requireSavable, type Savable } from './check.ts';
import type { DomainConfig, Held } from './helper/protocol.ts';
import { domainHold } from './hold.ts';
import { type LibxlSession, type MemoryProgress, type Toolstack, XEN } from './toolstack.ts';
import { type SaveState, undoSave } from './undo.ts';

/** The phases above; `disks` if no memory is saved. */
export type SavePhase = 'saving' | 'suspended' | 'paused' | 'disks-done' | 'disks';

/** The options of a save besides its parameters: the domain's definition, cancellation and progress. */
export interface SaveOptions {
  /** libvirt's live definition, for the header of the memory image. */
  readonly domainXml: string;
  /** Honoured until the disks are taken. */
  readonly signal?: AbortSignal;
  /** Called, and waited for, before each phase starts. If it rejects, the snapshot is undone. */
  phase?(name: SavePhase): Promise<void>;
  /** Called now and then while the memory is written. */
  progress?(progress: MemoryProgress): void;
}

/** Refuses what domainSnapshotSave would refuse about the domain, its disks and the parameters. Reads only. */
export async function checkDomainSnapshotSave(
  domid: number,
  args: LibxlDomainSnapshotArgs,
  toolstack = XEN,
): Promise<void> {
  await using xen = toolstack.startHelper();
  const { disks } = await requireSavable(toolstack, xen, domid, args);
  // Internal snapshots have one name in all images.
  const name = disks.find((disk) => disk.name !== undefined)?.name ?? '';
  const signal = neverAborted();
  const { monitor, hold } = guestOf(domid, toolstack);
  await checkLiveSnapshots({ monitor, hold, name, disks, signal });
}

/**
 * Takes the snapshot `name` of a domain, which runs afterwards as before. After an error the guest runs, and neither an image nor a
 * disk snapshot is left; or the message says what is left and the command that repairs it.
 */
export async function domainSnapshotSave(
  domid: number,
  name: string,
  args: LibxlDomainSnapshotArgs,
  { domainXml, signal = neverAborted(), phase = async () => {}, progress = () => {} }: SaveOptions,
  toolstack = XEN,
): Promise<LibxlDomainSnapshot> {
  await using xen = toolstack.startHelper();
  const savable = await requireSavable(toolstack, xen, domid, args);
  const options = { domainXml, signal, phase, progress };
  const disks = await LiveSnapshots.prepare({ ...guestOf(domid, toolstack), name, disks: savable.disks, signal });
  const save: Save = { toolstack, xen, domid, name, args, options, savable, disks };
  const taken = requestedMemoryPath(args) === undefined ? await saveDisks(save) : await saveMemoryAndDisks(save);
  return { name, config: withoutDomid(savable.config), ...taken };
}

const guestOf = (domid: number, toolstack: Toolstack) => ({
  monitor: () => toolstack.qmpSocketOf(domid),
  hold: () => domainHold(domid, toolstack),
});

interface Save {
  readonly toolstack: Toolstack;
  readonly xen: LibxlSession;
  readonly domid: number;
  readonly name: string;
  readonly args: LibxlDomainSnapshotArgs;
  readonly options: Required<SaveOptions>;
  readonly savable: Savable;
  readonly disks: LiveSnapshots;
}

async function saveMemoryAndDisks(save: Save): Promise<Omit<LibxlDomainSnapshot, 'name'>> {
  const { xen, domid, args, options } = save;
  const memory_path = requestedMemoryPath(args) as string;
  const state: SaveState = { held: RUNS, disks: save.disks };
  try {
    await options.phase('saving');
    const image = await PartialMemoryImage.create(memory_path, options.domainXml);
    state.image = image;
    state.held = { mayBeSuspended: true, paused: false };
    const started = performance.now();
    await xen.suspend(domid, image.file, args.live === true, {
      signal: options.signal,
      progress: () => void reportProgress(save, image),
    });
    const suspended = performance.now();
    const creation_time = now();

    await options.phase('suspended');
    state.held = { mayBeSuspended: true, paused: true };
    await xen.pause(domid);
    await xen.resume(domid);
    state.held = PAUSED;

    await options.phase('paused');
    const { disks, disks_ms } = await takeDisks(save);

    await options.phase('disks-done');
    await xen.unpause(domid);
    state.held = RUNS;
    const resume_ms = since(suspended);
    const memory_bytes = await image.finish(await tieOf(save.name, save.savable.disks));
    options.progress({ done: memory_bytes, total: memory_bytes });
    const timings = { suspend_ms: Math.round(suspended - started), disks_ms, resume_ms };
    return { memory: true, memory_path, memory_bytes, creation_time, ...disks, timings };
  } catch (error) {
    throw await undoSave(save.toolstack, xen, domid, state, error);
  }
}

async function saveDisks(save: Save): Promise<Omit<LibxlDomainSnapshot, 'name'>> {
  const { xen, domid, options, savable } = save;
  const state: SaveState = { held: RUNS, disks: save.disks };
  try {
    await options.phase('disks');
    const pauses = !savable.info.paused && save.disks.needsPause;
    if (pauses) {
      await options.phase('paused');
      state.held = PAUSED;
      await xen.pause(domid);
    }
    const { disks, disks_ms } = await takeDisks(save);
    if (pauses) await xen.unpause(domid);
    return { creation_time: now(), ...disks, timings: { disks_ms } };
  } catch (error) {
    throw await undoSave(save.toolstack, xen, domid, state, error);
  }
}

const RUNS: Held = { mayBeSuspended: false, paused: false };
const PAUSED: Held = { mayBeSuspended: false, paused: true };

async function takeDisks({ disks }: Save): Promise<{
  readonly disks: { readonly disks?: readonly LibxlDiskSnapshotResult[] };
  readonly disks_ms: number;
}> {
  const started = performance.now();
  const taken = await disks.take();
  return { disks: taken.length > 0 ? { disks: taken } : {}, disks_ms: since(started) };
}

/**
 * The image is a little larger than the RAM, and after a live save much larger if the guest writes a lot: the total that is
 * reported is always more than what is done.
 */
async function reportProgress({ savable, options }: Save, image: PartialMemoryImage): Promise<void> {
  // The last report may come when the image is finished.
  const done = await image.size().catch(() => 0);
  const ramKib = Math.max(done / 1024, savable.info.current_memkb ?? 0);
  if (done > 0) options.progress({ done, total: memoryImageBytes(ramKib) });
}

/** The next domain must get another domid: libxl does not give one a second time within a minute. */
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
