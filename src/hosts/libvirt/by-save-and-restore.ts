/**
 * Snapshots by libvirt's own calls alone, for upstream drivers other than Xen's, and for Xen's if libxl cannot be used:
 * virDomainSave, then the disks while nobody has them open, then virDomainRestore. Always coherent, but the guest is
 * off for as long as that takes, and has a new id afterwards.
 */

import { lstat, rm, stat, truncate } from 'node:fs/promises';
import { withKinds } from '../../disks/overlays/overlays.ts';
import { syncFile } from '../../disks/qemu/qemu-img.ts';
import { asLibvirtError, hasReason, LibvirtError, neverAborted, systemError, throwIfCancelled } from '../../errors.ts';
import { requireFreeSpace } from '../../memory/free-space.ts';
import { requestedMemoryPath } from '../../memory/requested-path.ts';
import { checkTie, retie } from '../../memory/tie.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { movesOnto } from '../../model/disk-image.ts';
import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { HostMemory } from '../../model/host-memory.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import type { Phase } from '../../model/phases.ts';
import type {
  Interruption,
  Job,
  LifecycleEvents,
  LiveDisks,
  MergeJob,
  OfflineDisks,
  SavedMemory,
} from '../../snapshots/ports.ts';
import { withDiskImages } from '../../xml/domain/definition.ts';
import { domainMemoryKib } from '../../xml/domain/domain.ts';
import { startFiles } from '../../xml/domain/start-files.ts';
import { freezeGuest } from '../guest-agent.ts';
import { domainDefinition, liveDefinition } from './definition.ts';
import type { Departures } from './departures.ts';
import { hideEvents } from './hidden-events.ts';
import { memoryByLibvirt } from './host-memory.ts';
import type { Launcher } from './launch.ts';
import type { Mechanism } from './libvirt-host.ts';
import { checkSavable } from './save-rules.ts';
import type { SavedDomains } from './saved-domains.ts';
import { checkSavedImage } from './saved-image.ts';
import type { Upstream } from './upstream.ts';
import { upstreamIdle } from './wait-until-idle.ts';

/** virConnectGetType of the driver that also emits an event for the pause at the beginning of its save. */
const QEMU = 'QEMU';
/**
 * virConnectGetType of the driver that cannot save a paused domain, and whose images an earlier daemon may have written
 * by libxl.
 */
const XEN = 'Xen';

/** Phases in which an earlier daemon may have paused the guest by libxl, which libvirtd does not notice. */
const PAUSED_BY_LIBXL: ReadonlySet<Phase> = new Set<Phase>(['suspended', 'paused', 'disks-done']);

interface BySaveAndRestoreOptions {
  readonly upstream: Upstream;
  /** The upstream's virConnectGetType. */
  readonly driver: string;
  readonly events: LifecycleEvents;
  readonly launcher: Launcher;
  readonly departures: Departures;
  readonly images: OfflineDisks;
  /** Overlays that domains use since an earlier daemon took snapshots by libxl, and that libvirtd does not know. */
  readonly liveDisks: LiveDisks;
  readonly savedDomains: SavedDomains;
  readonly log: (text: string) => void;
}

/** Work that is done while a domain is saved. */
interface Absence {
  readonly memoryPath: string;
  /** Adds to `images` the active images of disks for the restore, by target, also if it fails after that. */
  work(images: Map<string, DiskImage>): Promise<void>;
  /** For the error message if the restore fails: what the work has left. */
  readonly leaves?: string;
}

/** The mechanism if libxl cannot be used, or if the administrator has chosen it. */
export class BySaveAndRestore implements Mechanism {
  readonly #upstream: Upstream;
  readonly #driver: string;
  readonly #events: LifecycleEvents;
  readonly #launcher: Launcher;
  readonly #departures: Departures;
  readonly #images: OfflineDisks;
  readonly #liveDisks: LiveDisks;
  readonly #savedDomains: SavedDomains;
  readonly #log: (text: string) => void;

  constructor(options: BySaveAndRestoreOptions) {
    this.#upstream = options.upstream;
    this.#driver = options.driver;
    this.#events = options.events;
    this.#launcher = options.launcher;
    this.#departures = options.departures;
    this.#images = options.images;
    this.#liveDisks = options.liveDisks;
    this.#savedDomains = options.savedDomains;
    this.#log = options.log;
  }

  async checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    const { name } = domain.ref;
    this.#checkSavable(domain);
    if (args.live === true) {
      const text = `domain '${name}' cannot be saved live through libvirt: take the snapshot without the live flag`;
      throw new LibvirtError('OPERATION_UNSUPPORTED', text);
    }
    const definition = await this.#definition(domain);
    const internal = (args.disks ?? []).filter(({ external }) => !external);
    await this.#images.checkFree(internal[0]?.name ?? '', internal);
    await this.#checkReturn(definition);
    const memoryPath = requestedMemoryPath(args) ?? this.#scratch(domain.ref);
    await requireFreeSpace(memoryPath, domainMemoryKib(definition.element), { live: false });
  }

  async save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    const memoryPath = requestedMemoryPath(args);
    const disks = args.disks ?? [];
    const creation_time = Math.floor(Date.now() / 1000);
    await job.phase('saving');
    throwIfCancelled(job.signal);
    // From here on a file with contents is what libvirtd has saved, not one that is to be overwritten.
    if (memoryPath !== undefined) await empty(memoryPath);
    const overlays = movesOnto(disks);
    await this.#whileAway(domain, {
      memoryPath: memoryPath ?? this.#scratch(domain.ref),
      work: async (images) => {
        // Not all of libvirtd's drivers fsync the image that they write. A failure here undoes the whole snapshot.
        if (memoryPath !== undefined) await syncFile(memoryPath);
        await this.#takeDisks(name, disks, job);
        for (const { disk, to } of overlays) images.set(disk, to);
      },
      ...(disks.length > 0 && { leaves: `snapshot '${name}' is left in its images` }),
    });
    const taken = { name, creation_time, ...(disks.length > 0 && { disks }) };
    if (memoryPath === undefined) {
      await rm(this.#scratch(domain.ref));
      return taken;
    }
    const { size } = await stat(memoryPath);
    job.progress({ done: size, total: size });
    return { ...taken, memory: true, memory_path: memoryPath, memory_bytes: size };
  }

  async recover(domain: Domain, interrupted: Interruption): Promise<void> {
    const { name, id } = domain.ref;
    if (isActive(domain) && PAUSED_BY_LIBXL.has(interrupted.phase)) {
      this.#log(
        `libxl, which had paused domain '${name}' for the interrupted snapshot, is not used now: ` +
          `if 'xl list' shows it paused, 'xl unpause ${id}' continues it`,
      );
    }
    await this.#savedDomains.recover(domain, interrupted);
  }

  async deleteDiskSnapshots({ ref }: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    if (disks.length > 0) await this.#betweenSaveAndRestore(ref, () => this.#images.delete(name, disks));
  }

  async checkCommit(domain: Domain, layers: readonly LayerCommit[]): Promise<void> {
    if (layers.length === 0) return;
    this.#checkSavable(domain);
    const { element } = await domainDefinition(this.#upstream, domain, 'live');
    await requireFreeSpace(this.#scratch(domain.ref), domainMemoryKib(element), { live: false });
  }

  /** An overlay that the domain has never used is removed, not committed. */
  async commit(domain: Domain, all: readonly LayerCommit[], job: MergeJob): Promise<void> {
    if (all.length === 0) return;
    const { ref } = domain;
    const { images: now } = await this.#definition(domain);
    const layers = all.filter(({ disk, top, above }) => above || now.get(disk)?.path === top.path);
    for (const layer of all) if (!layers.includes(layer)) await job.merged(layer);
    if (layers.length === 0) return;
    const done: LayerCommit[] = [];
    const merge = (images: Map<string, DiskImage>): Promise<void> =>
      this.#images.commit(layers, {
        ...job,
        merged: async (layer) => {
          done.push(layer);
          if (!layer.above) images.set(layer.disk, layer.base);
        },
      });
    const failure = await outcome(() => this.#betweenSaveAndRestore(ref, merge));
    // A memory image that is kept names the layers.
    if (failure && hasReason(failure, 'not-restored')) throw failure;
    for (const layer of done) await job.merged(layer);
    if (failure) throw failure;
  }

  async freeze(domain: Domain): Promise<AsyncDisposable> {
    return await freezeGuest(await domainDefinition(this.#upstream, domain, 'live'));
  }

  /** libvirtd's own images have no tie; those that an earlier daemon wrote by libxl have one. */
  async checkRestore({ ref }: Domain, { path, name, disks }: SavedMemory, definition: DomainDefinition): Promise<void> {
    await checkSavedImage(this.#upstream, ref, path, definition);
    if (this.#driver === XEN) await checkTie(path, name, disks);
  }

  /** Other drivers' guests share Linux's memory, which promises more than there is. */
  async hostMemory(): Promise<HostMemory | undefined> {
    return this.#driver === XEN ? await memoryByLibvirt(this.#upstream) : undefined;
  }

  async retie({ path, name, disks }: SavedMemory): Promise<void> {
    if (this.#driver === XEN) await retie(path, name, disks);
  }

  /** Refuses to end a domain whose files are not there when it is to come back from its memory. */
  async #checkReturn(definition: DomainDefinition): Promise<void> {
    await this.#images.checkStart(startFiles(definition, 'restore'));
  }

  #scratch(ref: DomainRef): string {
    return this.#savedDomains.scratch(ref);
  }

  #checkSavable(domain: Domain): void {
    checkSavable(domain, this.#driver === XEN ? ['running'] : ['running', 'paused']);
  }

  /** The live definition with the images that the domain's disks really use: it must be restored on those. */
  #definition(domain: Domain): Promise<DomainDefinition> {
    return liveDefinition(this.#upstream, this.#liveDisks, domain);
  }

  /** For work on the disks of an active domain outside of a save. */
  async #betweenSaveAndRestore(ref: DomainRef, work: Absence['work']): Promise<void> {
    // The domain may have been saved and restored since it was looked up, and has another id then.
    const now = await this.#upstream.lookupByUUID(ref.uuid);
    const [state, persistent] = await Promise.all([this.#upstream.getState(now), this.#upstream.isPersistent(now)]);
    const domain = { ref: now, state, persistent };
    this.#checkSavable(domain);
    const memoryPath = this.#scratch(ref);
    await this.#whileAway(domain, { memoryPath, work });
    await rm(memoryPath);
  }

  async #takeDisks(name: string, disks: readonly LibxlDiskSnapshot[], job: Job): Promise<void> {
    await job.phase('saved');
    throwIfCancelled(job.signal);
    const internal = disks.filter(({ external }) => !external);
    await this.#images.create(name, internal, new Set());
    try {
      await job.phase('restoring');
    } catch (error) {
      await this.#images.delete(name, internal);
      throw error;
    }
  }

  /** Restores the domain in any case. If the work has failed, removes the memory image after the restore. */
  async #whileAway(domain: Domain, absence: Absence): Promise<void> {
    const { ref, state } = domain;
    const { memoryPath } = absence;
    const images = new Map<string, DiskImage>();
    const definition = await this.#definition(domain);
    await this.#checkReturn(definition);
    await this.#save(domain, absence);
    const failure = await outcome(() => absence.work(images));
    const returning = withDiskImages(definition, await withKinds(images));
    const lost = await outcome(() =>
      this.#launcher.restore(ref, memoryPath, { paused: state === 'paused', definition: returning }),
    );
    if (lost) throw failure ? notRestored(ref, { memoryPath }, lost, failure) : notRestored(ref, absence, lost);
    if (!failure) return;
    await rm(memoryPath, { force: true });
    throw failure;
  }

  async #save({ ref, state }: Domain, { memoryPath }: Absence): Promise<void> {
    const pauses = this.#driver === QEMU && state === 'running';
    const caused = [LIFECYCLE.STOPPED_SAVED, ...(pauses ? [LIFECYCLE.SUSPENDED_PAUSED] : [])];
    if (memoryPath === this.#scratch(ref)) await refuseLink(memoryPath);
    using _hidden = hideEvents(this.#events, ref.uuid, caused);
    try {
      await this.#departures.withReturn(ref, () => this.#upstream.saveFlags(ref, memoryPath, 0));
    } catch (error) {
      // If the connection to libvirtd was lost, libvirtd may still write the image, or it may be all that is left of
      // the guest.
      const now = await upstreamIdle(this.#upstream, ref, { signal: neverAborted() })
        .then(() => this.#upstream.lookupByUUID(ref.uuid))
        .catch(() => undefined);
      if (now?.id !== ref.id) throw notRestored(ref, { memoryPath }, asLibvirtError(error));
      await rm(memoryPath, { force: true });
      throw error;
    }
  }
}

/** libvirtd, which may be root, would follow a link and write to its target. */
async function refuseLink(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSymbolicLink()) return;
  throw new LibvirtError(
    'OPERATION_FAILED',
    `'${path}' is a symbolic link, not a file that xlsnapd has made: remove it`,
  );
}

async function empty(path: string): Promise<void> {
  await truncate(path).catch((error) => {
    if (error.code !== 'ENOENT') throw systemError(error, `cannot empty file '${path}'`);
  });
}

async function outcome(work: () => Promise<unknown>): Promise<LibvirtError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return asLibvirtError(error);
  }
}

function notRestored(
  { name }: DomainRef,
  { memoryPath, leaves }: Pick<Absence, 'memoryPath' | 'leaves'>,
  lost: LibvirtError,
  failure?: LibvirtError,
): LibvirtError {
  const text = [
    ...(failure ? [failure.detail] : []),
    `domain '${name}' was saved and could not be restored: ${lost.detail}`,
    `its memory is in '${memoryPath}'; if the domain is off, this starts it again: ${shellCommand('virsh', 'restore', memoryPath)}`,
    ...(leaves ? [leaves] : []),
  ];
  return new LibvirtError('OPERATION_FAILED', text.join('; '), { cause: lost, reason: 'not-restored' });
}
