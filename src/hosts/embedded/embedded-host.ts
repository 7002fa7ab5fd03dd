/**
 * The embedded host, `test:///default`: it needs neither Xen nor root. Domains live in this process; their images are
 * real, and while a domain is active a real QEMU block layer serves its disks. For demonstrations, and for tests of
 * software that uses snapshots.
 */

import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { deleteLiveSnapshots } from '../../disks/live-delete.ts';
import { checkLiveLayers, commitLiveLayers } from '../../disks/overlays/live-commit.ts';
import { imageExists, withKinds } from '../../disks/overlays/overlays.ts';
import { createQcow2Image } from '../../disks/qemu/qcow2.ts';
import { LibvirtError, neverAborted, systemError } from '../../errors.ts';
import { readMemoryStream } from '../../memory/embedded-stream.ts';
import { readMemoryImage } from '../../memory/image-file.ts';
import { checkTie, retie } from '../../memory/tie.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { type Domain, type DomainDefinition, type DomainRef, REASONS } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { TieState } from '../../model/snapshot.ts';
import type { Host, LifecycleEvents, SavedMemory } from '../../snapshots/ports/host.ts';
import type { Job, MergeJob } from '../../snapshots/ports/jobs.ts';
import { withDiskImages } from '../../xml/domain/definition.ts';
import { QemuBlockDevices } from '../block-devices.ts';
import { freezeGuest } from '../guest-agent.ts';
import { tieStateOf } from '../memory-of-snapshot.ts';
import { checkSavedDefinition } from '../saved-definition.ts';
import { DEFAULT_UUID, defaultDefinition } from './definitions.ts';
import { EmbeddedDomainApi } from './domain-api.ts';
import { EmbeddedSaves } from './domain-saves.ts';
import { EmbeddedDomains } from './domains.ts';
import { ManagedSaves } from './managed-saves.ts';
import { checkSave, saveRun } from './save.ts';
import { endLeftovers } from './storage-daemon.ts';
import { withoutExport } from './without-export.ts';

const IMAGE_BYTES = 64 << 20;

interface EmbeddedHostOptions {
  /**
   * Folder for the image of `test` and the files of running domains. Created if it is missing. Two hosts must not share
   * it (the daemon locks it): each would end the other's device models.
   */
  readonly stateDir: string;
  /** Folder for managed saves. */
  readonly managedSaveDir: string;
  readonly events: LifecycleEvents;
}

/** Host of the policy over the embedded domains. Disposing ends them. */
export class EmbeddedHost implements Host, AsyncDisposable {
  /** The same domains for ordinary clients. */
  readonly domainApi: EmbeddedDomainApi;
  /** Block jobs of running domains. */
  readonly blockDevices: QemuBlockDevices;
  /** Saves of running domains. */
  readonly saves: EmbeddedSaves;
  readonly #domains: EmbeddedDomains;
  readonly #managed: ManagedSaves;

  private constructor(domains: EmbeddedDomains, managed: ManagedSaves) {
    this.domainApi = new EmbeddedDomainApi(domains, managed);
    this.saves = new EmbeddedSaves(domains, managed);
    this.blockDevices = new QemuBlockDevices(async ({ ref }) => domains.find(ref).run.devices.qmpSocket, {
      released: withoutExport,
    });
    this.#domains = domains;
    this.#managed = managed;
  }

  /**
   * Opens the host and starts `test`, a persistent domain, with the definition and the disk that earlier runs have
   * left.
   */
  static async open({ stateDir, managedSaveDir, events }: EmbeddedHostOptions): Promise<EmbeddedHost> {
    const folder = resolve(stateDir);
    await makeFolder(folder);
    const managed = await ManagedSaves.open(resolve(managedSaveDir), DEFAULT_UUID);
    const domains = new EmbeddedDomains(folder, events, defaultDefinition(join(folder, 'test.qcow2')));
    const host = new EmbeddedHost(domains, managed);
    try {
      await endLeftovers(folder);
      await host.#startDefault(join(folder, 'test.qcow2'));
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Whether there is one or not. */
  managedSavePath(domain: DomainRef): string {
    return this.#managed.pathOf(domain);
  }

  async lookup(ref: DomainRef): Promise<Domain> {
    return this.#domains.find(ref).snapshot();
  }

  async list(): Promise<readonly Domain[]> {
    return this.#domains.all().map((domain) => domain.snapshot());
  }

  async definition({ ref }: Domain, which: 'live' | 'persistent'): Promise<DomainDefinition> {
    const domain = this.#domains.find(ref);
    return which === 'live' ? domain.liveDefinition : domain.definition;
  }

  async checkSave({ ref }: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    await checkSave(this.#domains.find(ref).run, args);
  }

  async save({ ref }: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    const domain = this.#domains.find(ref);
    return domain.exclusive(() => saveRun(domain.run, name, args, job));
  }

  // Domains end with the process that runs them, so an interrupted operation has left none busy and none paused.
  async idle(): Promise<void> {}
  async recover(): Promise<void> {}

  async deleteDiskSnapshots({ ref }: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    const domain = this.#domains.find(ref);
    const monitor = async () => domain.run.devices.qmpSocket;
    await domain.exclusive(() => deleteLiveSnapshots({ name, disks, monitor, signal: neverAborted() }));
  }

  async checkCommit({ ref }: Domain, layers: readonly LayerCommit[]): Promise<void> {
    await checkLiveLayers(this.#domains.find(ref).run.devices.qmpSocket, layers);
  }

  async commit({ ref }: Domain, layers: readonly LayerCommit[], job: MergeJob): Promise<void> {
    if (layers.length === 0) return;
    const domain = this.#domains.find(ref);
    const socket = domain.run.devices.qmpSocket;
    await domain.exclusive(() => commitLiveLayers({ socket, layers, ...job }));
  }

  async volumePath(): Promise<string> {
    throw new LibvirtError('NO_SUPPORT', 'virStoragePoolLookupByName');
  }

  /** All definitions are its own. */
  async checkSetDisks(): Promise<void> {}

  async setDisks({ ref }: Domain, images: ReadonlyMap<string, DiskImage>, which: 'live' | 'persistent'): Promise<void> {
    const found = await withKinds(images);
    const domain = this.#domains.find(ref);
    if (which === 'live') domain.liveDefinition = withDiskImages(domain.liveDefinition, found);
    else this.#domains.setDefinition(domain, withDiskImages(domain.definition, found));
  }

  async freeze({ ref }: Domain): Promise<AsyncDisposable> {
    return await freezeGuest(this.#domains.find(ref).liveDefinition);
  }

  async checkRestore({ ref }: Domain, { path, name, disks }: SavedMemory, definition: DomainDefinition): Promise<void> {
    await readSaved(ref, path, definition);
    await checkTie(path, name, disks);
  }

  /** A guest's memory is a file. */
  async checkMemory(): Promise<void> {}

  /** A domain has nothing here but its images. */
  async checkParts(): Promise<void> {}

  /** It has read the definition itself. */
  async checkDefinition(): Promise<void> {}

  retie({ path, name, disks }: SavedMemory): Promise<void> {
    return retie(path, name, disks);
  }

  tieState(memory: Pick<SavedMemory, 'path' | 'name'>): Promise<TieState> {
    return tieStateOf(memory, async () => (await readMemoryImage(memory.path)).domainXml);
  }

  /** Keeps a transient domain in the list: a revert starts it again. */
  async destroy({ ref }: Domain): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(() =>
      this.#domains.stop(domain, REASONS.shutoff.fromSnapshot, LIFECYCLE.STOPPED_FROM_SNAPSHOT),
    );
  }

  /** Drops a managed save: resuming it later would overwrite what the guest writes from now on. */
  async restore(
    { ref }: Domain,
    memoryPath: string,
    { paused, definition }: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => {
      const ram = await readSaved(ref, memoryPath, definition);
      await this.#managed.remove(domain);
      const reason = paused ? REASONS.paused.fromSnapshot : REASONS.running.fromSnapshot;
      await this.#domains.start(domain, { definition, ram, paused, reason, event: LIFECYCLE.STARTED_FROM_SNAPSHOT });
      this.#domains.emit(domain, paused ? LIFECYCLE.SUSPENDED_FROM_SNAPSHOT : LIFECYCLE.RESUMED_FROM_SNAPSHOT);
    });
  }

  async define(definition: DomainDefinition): Promise<void> {
    this.#domains.define(definition, 'suppressed');
  }

  /** Drops a managed save, as `restore` does. */
  async start(
    { ref }: Domain,
    { paused, definition }: { readonly paused: boolean; readonly definition: DomainDefinition },
  ): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => {
      await this.#managed.remove(domain);
      const reason = paused ? REASONS.paused.user : REASONS.running.booted;
      if (!paused) this.#domains.emit(domain, LIFECYCLE.RESUMED_UNPAUSED);
      await this.#domains.start(domain, { definition, paused, reason, event: LIFECYCLE.STARTED_FROM_SNAPSHOT });
      if (paused) this.#domains.emit(domain, LIFECYCLE.SUSPENDED_FROM_SNAPSHOT);
    });
  }

  onGone(listener: (ref: DomainRef) => void): void {
    this.#domains.onGone(listener);
  }

  onRenamed(listener: (ref: DomainRef) => void): void {
    this.#domains.onRenamed(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#domains[Symbol.asyncDispose]();
  }

  async #startDefault(image: string): Promise<void> {
    if (!(await imageExists(image))) await createQcow2Image(image, IMAGE_BYTES);
    const kept = this.#domains.keptDefinition;
    const domain = this.#domains.define(kept ?? defaultDefinition(image));
    await this.#managed.find(domain);
    // An interrupted operation may have removed an image of the definition. Recovery corrects the definition first.
    if (kept && !(await areThere(kept))) return;
    await this.domainApi.create(domain.ref, { paused: false });
  }
}

async function areThere(definition: DomainDefinition): Promise<boolean> {
  const images = [...definition.images.values()];
  const found = await Promise.all(images.map(({ path }) => imageExists(path)));
  return found.every((there) => there);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw systemError(error, `cannot create state directory '${folder}'`);
  }
}

/**
 * Reads the RAM in a memory image of this domain; refuses an image whose guest could not continue with `definition`.
 */
async function readSaved(ref: DomainRef, path: string, definition: DomainDefinition): Promise<Buffer> {
  const { domainXml, streamOffset } = await readMemoryImage(path);
  checkSavedDefinition(ref, { path, xml: domainXml }, definition);
  return await readMemoryStream(path, streamOffset);
}
