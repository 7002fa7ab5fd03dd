/**
 * Snapshots by libvirt's own calls alone, for upstream drivers other than Xen's, and for Xen's if libxl cannot be used:
 * virDomainSave, then the disks while nobody has them open, then virDomainRestore. Always coherent, but the guest is
 * off for as long as that takes, and has a new id afterwards.
 */

import { rm, stat } from 'node:fs/promises';
import { syncFile } from '../../../disks/qemu/qemu-img.ts';
import { asLibvirtError, hasReason, LibvirtError, throwIfCancelled } from '../../../errors.ts';
import type { HostMemory } from '../../../libxl/host-memory.ts';
import { digHoles } from '../../../memory/dig-holes.ts';
import { requireFreeSpace } from '../../../memory/free-space.ts';
import { requestedMemoryPath } from '../../../memory/requested-path.ts';
import { checkTie, retie } from '../../../memory/tie.ts';
import type { DiskImage, LayerCommit } from '../../../model/disk-image.ts';
import { movesOnto } from '../../../model/disk-image.ts';
import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../../model/libxl.ts';
import type { Phase } from '../../../model/phases.ts';
import type { OfflineDisks } from '../../../snapshots/ports/disks.ts';
import type { Interruption, SavedMemory } from '../../../snapshots/ports/host.ts';
import type { Job, MergeJob } from '../../../snapshots/ports/jobs.ts';
import { domainMemoryKib } from '../../../xml/domain/domain.ts';
import { writeElement } from '../../../xml/engine/write.ts';
import { freezeGuest } from '../../guest-agent.ts';
import { domainDefinition } from '../definition.ts';
import type { Mechanism } from '../mechanism.ts';
import { memoryByLibvirt } from '../resources/upstream-memory.ts';
import { checkHostSaves, checkSavable } from '../save-rules.ts';
import { checkSavedImage } from '../saved-image.ts';
import type { Upstream } from '../upstream.ts';
import { type Absence, Absences, type AbsencesOptions, outcome } from './absence.ts';
import type { SavedDomains } from './saved-domains.ts';

/**
 * virConnectGetType of the driver that cannot save a paused domain, and whose images an earlier daemon may have written
 * by libxl.
 */
const XEN = 'Xen';

/** Phases in which an earlier daemon may have paused the guest by libxl, which libvirtd does not notice. */
const PAUSED_BY_LIBXL: ReadonlySet<Phase> = new Set<Phase>(['suspended', 'paused', 'disks-done']);

interface BySaveAndRestoreOptions extends AbsencesOptions {
  readonly images: OfflineDisks;
  readonly log: (text: string) => void;
}

/** The mechanism if libxl cannot be used, or if the administrator has chosen it. */
export class BySaveAndRestore implements Mechanism {
  readonly #upstream: Upstream;
  readonly #driver: string;
  readonly #images: OfflineDisks;
  readonly #savedDomains: SavedDomains;
  readonly #absences: Absences;
  readonly #log: (text: string) => void;

  constructor(options: BySaveAndRestoreOptions) {
    this.#upstream = options.upstream;
    this.#driver = options.driver;
    this.#images = options.images;
    this.#savedDomains = options.savedDomains;
    this.#absences = new Absences(options);
    this.#log = options.log;
  }

  async checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    const { name } = domain.ref;
    this.#checkSavable(domain);
    if (this.#driver === XEN) await checkHostSaves(this.#upstream, domain.ref, 'shut it off before the snapshot');
    if (args.live === true) {
      const text = `domain '${name}' cannot be saved live through libvirt: take the snapshot without the live flag`;
      throw new LibvirtError('OPERATION_UNSUPPORTED', text);
    }
    const definition = await this.#absences.definition(domain);
    const internal = (args.disks ?? []).filter(({ external }) => !external);
    await this.#images.checkFree(internal[0]?.name ?? '', internal);
    await this.#absences.checkReturn(definition);
    const memoryPath = requestedMemoryPath(args) ?? this.#scratch(domain.ref);
    await requireFreeSpace(memoryPath, domainMemoryKib(definition.element), { live: false });
  }

  async save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    const memoryPath = requestedMemoryPath(args);
    const disks = args.disks ?? [];
    const creation_time = Math.floor(Date.now() / 1000);
    await job.phase('saving');
    throwIfCancelled(job.signal);
    const overlays = movesOnto(disks);
    await this.#absences.whileAway(domain, {
      memoryPath: memoryPath ?? this.#scratch(domain.ref),
      saving: ({ element }) => job.definition(writeElement(element)),
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
    // The guest runs again: it does not wait for this.
    await digHoles(memoryPath).catch((error) => this.#log(asLibvirtError(error).message));
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
    const { images: now } = await this.#absences.definition(domain);
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

  /** Nothing: overlays are made while no device model runs, which opens each disk by itself then. */
  async closeDetached(): Promise<void> {}

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

  #scratch(ref: DomainRef): string {
    return this.#savedDomains.scratch(ref);
  }

  #checkSavable(domain: Domain): void {
    checkSavable(domain, this.#driver === XEN ? ['running'] : ['running', 'paused']);
  }

  /** For work on the disks of an active domain outside of a save. */
  async #betweenSaveAndRestore(ref: DomainRef, work: Absence['work']): Promise<void> {
    // The domain may have been saved and restored since it was looked up, and has another id then.
    const now = await this.#upstream.lookupByUUID(ref.uuid);
    const [state, persistent] = await Promise.all([this.#upstream.getState(now), this.#upstream.isPersistent(now)]);
    const domain = { ref: now, state, persistent };
    this.#checkSavable(domain);
    const memoryPath = this.#scratch(ref);
    await this.#absences.whileAway(domain, { memoryPath, work });
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
}
