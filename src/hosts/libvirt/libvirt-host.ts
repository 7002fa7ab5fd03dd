/**
 * Domains that an upstream libvirtd owns. Every start and stop goes through libvirtd, which keeps ownership. Only
 * saving memory and disks is delegated, to a Mechanism.
 */

import { stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { withKinds } from '../../disks/overlays/overlays.ts';
import { isLibvirtError, LibvirtError } from '../../errors.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import {
  type Domain,
  type DomainDefinition,
  type DomainRef,
  isActive,
  type StorageVolume,
} from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { TieState } from '../../model/snapshot.ts';
import type { Host, Interruption, LifecycleEvents, SavedMemory } from '../../snapshots/ports/host.ts';
import type { Job, MergeJob } from '../../snapshots/ports/jobs.ts';
import type { LiveDisks } from '../../snapshots/ports/store.ts';
import { withDiskImages } from '../../xml/domain/definition.ts';
import { domainUuid } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkHostMemory } from '../host-memory.ts';
import { tieStateOf } from '../memory-of-snapshot.ts';
import { domainDefinition, onActiveImages } from './definition.ts';
import type { Departures } from './departures.ts';
import { hideEvents } from './hidden-events.ts';
import type { Launcher } from './launch.ts';
import type { Mechanism } from './mechanism.ts';
import { OverlaidDomains } from './overlaid/overlaid-domains.ts';
import type { SavesOnOverlays } from './overlaid/overlaid-saves.ts';
import { refusalOf } from './resources/accepted-definition.ts';
import { checkHostParts } from './resources/host-parts.ts';
import { RevertedDomains } from './reverted-domains.ts';
import { imageDefinition } from './saved-image.ts';
import type { Upstream } from './upstream.ts';
import { upstreamIdle } from './wait-until-idle.ts';

/** libvirtd destroys a guest of hundreds of GiB in less. */
const DESTROY_TIMEOUT_MS = 60_000;
const DESTROY_POLL_MS = 50;

/** The parts of a LibvirtHost. */
export interface LibvirtHostOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  readonly launcher: Launcher;
  readonly departures: Departures;
  readonly mechanism: Mechanism;
  readonly liveDisks: LiveDisks;
  readonly saves: SavesOnOverlays;
}

/*
 * Events:
 * we do        libvirtd emits (hidden)        clients get
 * destroy      STOPPED/DESTROYED              STOPPED/FROM_SNAPSHOT
 * restore      STARTED/RESTORED               STARTED/FROM_SNAPSHOT, RESUMED/FROM_SNAPSHOT
 *   paused     STARTED/RESTORED               STARTED/FROM_SNAPSHOT, SUSPENDED/FROM_SNAPSHOT
 * start        STARTED/BOOTED                 RESUMED/UNPAUSED, STARTED/FROM_SNAPSHOT
 *   paused     STARTED/BOOTED                 STARTED/FROM_SNAPSHOT, SUSPENDED/FROM_SNAPSHOT
 * define       DEFINED/ADDED or UPDATED       nothing
 */
export class LibvirtHost implements Host {
  readonly #upstream: Upstream;
  readonly #events: LifecycleEvents;
  readonly #launcher: Launcher;
  readonly #departures: Departures;
  readonly #mechanism: Mechanism;
  readonly #liveDisks: LiveDisks;
  /** For the proxy. */
  readonly overlaid: OverlaidDomains;
  /** Saves of domains on overlays. */
  readonly saves: SavesOnOverlays;
  /** Corrects the reason of a state that clients get from libvirtd. */
  readonly reverted: RevertedDomains;

  constructor({ upstream, events, launcher, departures, mechanism, liveDisks, saves }: LibvirtHostOptions) {
    this.#upstream = upstream;
    this.#events = events;
    this.#launcher = launcher;
    this.#departures = departures;
    this.#mechanism = mechanism;
    this.#liveDisks = liveDisks;
    this.reverted = new RevertedDomains(upstream);
    this.saves = saves;
    this.overlaid = new OverlaidDomains({
      upstream,
      liveDisks,
      devicesChanged: async (ref) => void (await this.definition(await this.lookup(ref), 'live')),
    });
  }

  /**
   * libvirtd says `shut off` before it destroys a domain that has shut down, and only then takes its id from it: for a
   * large guest seconds later. Until then this waits, so that nobody takes the domain for an active one.
   */
  async lookup({ uuid }: DomainRef): Promise<Domain> {
    for (const end = performance.now() + DESTROY_TIMEOUT_MS; ; await setTimeout(DESTROY_POLL_MS)) {
      const domain = await this.#domain(await this.#upstream.lookupByUUID(uuid));
      if (domain.state !== 'shutoff' || !isActive(domain) || performance.now() > end) return domain;
    }
  }

  async list(): Promise<readonly Domain[]> {
    const refs = await this.#upstream.listAllDomains();
    const domains = await Promise.all(refs.map((ref) => this.#domain(ref).catch(unlessGone)));
    return domains.filter((domain) => domain !== undefined);
  }

  /** What was recorded of disks that libvirtd does not show any more is forgotten, and their images are closed. */
  async definition(domain: Domain, which: 'live' | 'persistent'): Promise<DomainDefinition> {
    if (which === 'persistent') return await domainDefinition(this.#upstream, domain, which);
    const shown = await domainDefinition(this.#upstream, domain, which);
    const detached = await this.#liveDisks.keepDisks(domain.ref, shown.disks);
    if (detached.length > 0) await this.#mechanism.closeDetached(domain, detached);
    return onActiveImages(shown, domain.ref, this.#liveDisks);
  }

  volumePath(volume: StorageVolume): Promise<string> {
    return this.#upstream.volumePath(volume);
  }

  checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    return this.#mechanism.checkSave(domain, args);
  }

  save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    return this.#mechanism.save(domain, name, args, job);
  }

  idle(ref: DomainRef, options: Parameters<Host['idle']>[1]): Promise<void> {
    return upstreamIdle(this.#upstream, ref, options);
  }

  recover(domain: Domain, interrupted: Interruption): Promise<void> {
    return this.#mechanism.recover(domain, interrupted);
  }

  deleteDiskSnapshots(domain: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    return this.#mechanism.deleteDiskSnapshots(domain, name, disks);
  }

  checkCommit(domain: Domain, layers: readonly LayerCommit[]): Promise<void> {
    return this.#mechanism.checkCommit(domain, layers);
  }

  commit(domain: Domain, layers: readonly LayerCommit[], job: MergeJob): Promise<void> {
    return this.#mechanism.commit(domain, layers, job);
  }

  /** libvirtd takes any definition. */
  async checkSetDisks(): Promise<void> {}

  async setDisks(domain: Domain, images: ReadonlyMap<string, DiskImage>, which: 'live' | 'persistent'): Promise<void> {
    const found = await withKinds(images);
    if (which === 'live') {
      const { disks } = await domainDefinition(this.#upstream, domain, 'live');
      await this.#liveDisks.set(domain.ref, found, disks);
      return;
    }
    const definition = withDiskImages(await this.definition(domain, 'persistent'), found);
    using _hidden = hideEvents(this.#events, domain.ref.uuid, [LIFECYCLE.DEFINED_UPDATED]);
    await this.#upstream.defineXML(writeElement(definition.element));
  }

  freeze(domain: Domain): Promise<AsyncDisposable> {
    return this.#mechanism.freeze(domain);
  }

  checkRestore(domain: Domain, memory: SavedMemory, definition: DomainDefinition): Promise<void> {
    return this.#mechanism.checkRestore(domain, memory, definition);
  }

  async checkMemory(domain: Domain, definition: DomainDefinition, memoryPath?: string): Promise<void> {
    const host = await this.#mechanism.hostMemory().catch(() => undefined);
    if (!host) return;
    const live = isActive(domain) ? await domainDefinition(this.#upstream, domain, 'live') : undefined;
    const image = memoryPath === undefined ? undefined : await stat(memoryPath).catch(() => undefined);
    const wanted = { definition, ...(image && { imageBytes: image.size }), ...(live && { live }) };
    await checkHostMemory(host, domain.ref, wanted);
  }

  checkParts(definition: DomainDefinition): Promise<void> {
    return checkHostParts(this.#upstream, definition);
  }

  async checkDefinition(domain: Domain, definition: DomainDefinition): Promise<void> {
    const refusal = await refusalOf(this.#upstream, definition);
    if (!refusal) return;
    // The definition of a guest that runs has more than one that is defined: if libvirtd refuses that, it says nothing of this one.
    if (isActive(domain) && (await refusalOf(this.#upstream, await this.definition(domain, 'live')))) return;
    throw new LibvirtError(
      'OPERATION_INVALID',
      `libvirtd does not accept the snapshot's definition: ${refusal.detail}`,
    );
  }

  retie(memory: SavedMemory): Promise<void> {
    return this.#mechanism.retie(memory);
  }

  tieState(memory: Pick<SavedMemory, 'path' | 'name'>): Promise<TieState> {
    return tieStateOf(memory, async () => (await imageDefinition(this.#upstream, memory.path)).xml);
  }

  async destroy({ ref, persistent }: Domain): Promise<void> {
    using _hidden = hideEvents(this.#events, ref.uuid, [LIFECYCLE.STOPPED_DESTROYED]);
    const stop = () => this.#upstream.destroy(ref);
    // Only a revert destroys a transient domain, and the revert starts it again.
    await (persistent ? stop() : this.#departures.withReturn(ref, stop));
    await this.#liveDisks.forget(ref.uuid);
    this.reverted.add(ref.uuid, 'shutoff');
    this.#events.emit({ ...ref, id: -1 }, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  }

  /** Drops a managed save: resuming it later would overwrite what the guest writes from now on. */
  async restore(
    { ref, managedSave }: Domain,
    memoryPath: string,
    { paused, definition }: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void> {
    if (managedSave) await this.#upstream.managedSaveRemove(ref);
    const restored = await this.#launcher.restore(ref, memoryPath, { paused, definition });
    this.reverted.add(ref.uuid, paused ? 'paused' : 'running');
    this.#events.emit(restored, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    this.#events.emit(restored, paused ? LIFECYCLE.SUSPENDED_FROM_SNAPSHOT : LIFECYCLE.RESUMED_FROM_SNAPSHOT);
  }

  async start(
    { ref, persistent }: Domain,
    { paused, definition }: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void> {
    const started = await this.#launcher.start(ref, { paused, ...(!persistent && { transient: definition }) });
    if (!paused) this.#events.emit(started, LIFECYCLE.RESUMED_UNPAUSED);
    this.#events.emit(started, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    if (paused) this.#events.emit(started, LIFECYCLE.SUSPENDED_FROM_SNAPSHOT);
  }

  async define(definition: DomainDefinition): Promise<void> {
    // libvirt's own definitions have a UUID. No event can be expected of a domain that has none yet.
    const uuid = domainUuid(definition.element) ?? '';
    using _hidden = hideEvents(this.#events, uuid, [LIFECYCLE.DEFINED_ADDED, LIFECYCLE.DEFINED_UPDATED]);
    await this.#upstream.defineXML(writeElement(definition.element));
  }

  onGone(listener: (ref: DomainRef) => void): void {
    this.#departures.onGone(listener);
  }

  onRenamed(listener: (ref: DomainRef) => void): void {
    this.#upstream.onLifecycle((ref, { event, detail }) => {
      const { DEFINED_RENAMED } = LIFECYCLE;
      if (event === DEFINED_RENAMED.event && detail === DEFINED_RENAMED.detail) listener(ref);
    });
  }

  async #domain(ref: DomainRef): Promise<Domain> {
    const [state, persistent, managedSave] = await Promise.all([
      this.#upstream.getState(ref),
      this.#upstream.isPersistent(ref),
      isActive({ ref }) ? false : this.#upstream.hasManagedSaveImage(ref),
    ]);
    return { ref, state, persistent, ...(managedSave && { managedSave }) };
  }
}

/** Leaves out a domain that has gone since it was listed. */
function unlessGone(error: unknown): undefined {
  if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
}
