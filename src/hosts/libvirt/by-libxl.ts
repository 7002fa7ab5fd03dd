/** Snapshots of libvirtd's Xen domains by libxl, without libvirtd's own save: the guest is stopped only for moments. */

import { deleteLiveSnapshots } from '../../disks/live-delete.ts';
import { checkLiveLayers, commitLiveLayers } from '../../disks/overlays/live-commit.ts';
import { deleteDetached } from '../../disks/qemu/block-graph.ts';
import { asLibvirtError, LibvirtError, neverAborted } from '../../errors.ts';
import type { domainHold } from '../../libxl/hold.ts';
import type { HostMemory, hostMemory } from '../../libxl/host-memory.ts';
import type { domainSnapshotRecover } from '../../libxl/recover.ts';
import type { checkDomainSnapshotSave, domainSnapshotSave, SavePhase } from '../../libxl/save.ts';
import { requestedMemoryPath } from '../../memory/requested-path.ts';
import { checkTie, retie } from '../../memory/tie.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { type Domain, type DomainDefinition, isActive } from '../../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { SAVE_STOPS } from '../../model/phases.ts';
import type { Interruption, SavedMemory } from '../../snapshots/ports/host.ts';
import type { Job, MergeJob } from '../../snapshots/ports/jobs.ts';
import type { LiveDisks } from '../../snapshots/ports/store.ts';
import { restartingEvent } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { freezeGuest } from '../guest-agent.ts';
import type { DeathWatch } from './death-watch.ts';
import { domainDefinition, liveDefinition } from './definition.ts';
import type { Mechanism } from './mechanism.ts';
import type { SavedDomains } from './save-and-restore/saved-domains.ts';
import { checkHostSaves, checkSameDomain, checkSavable } from './save-rules.ts';
import { checkSavedImage } from './saved-image.ts';
import type { Upstream } from './upstream.ts';

/** The functions of src/libxl that are used here, and the QMP socket of a domain's device model. */
export interface LibxlSnapshots {
  readonly checkDomainSnapshotSave: typeof checkDomainSnapshotSave;
  readonly domainSnapshotSave: typeof domainSnapshotSave;
  readonly domainSnapshotRecover: typeof domainSnapshotRecover;
  readonly domainHold: typeof domainHold;
  readonly hostMemory: typeof hostMemory;
  qmpSocketOf(domid: number): Promise<string>;
}

interface ByLibxlOptions {
  readonly upstream: Upstream;
  readonly libxl: LibxlSnapshots;
  readonly deathWatch: DeathWatch;
  /** Overlays that domains use and that libvirtd does not know. */
  readonly liveDisks: LiveDisks;
  readonly savedDomains: SavedDomains;
  readonly log: (text: string) => void;
}

/** The mechanism if libxl can be used. */
export class ByLibxl implements Mechanism {
  readonly #upstream: Upstream;
  readonly #libxl: LibxlSnapshots;
  readonly #deathWatch: DeathWatch;
  readonly #liveDisks: LiveDisks;
  readonly #savedDomains: SavedDomains;
  readonly #log: (text: string) => void;

  constructor({ upstream, libxl, deathWatch, liveDisks, savedDomains, log }: ByLibxlOptions) {
    this.#upstream = upstream;
    this.#libxl = libxl;
    this.#deathWatch = deathWatch;
    this.#liveDisks = liveDisks;
    this.#savedDomains = savedDomains;
    this.#log = log;
  }

  async checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    await this.#checkReboot(domain, args);
    const savesMemory = requestedMemoryPath(args) !== undefined;
    checkSavable(domain, savesMemory ? ['running'] : ['running', 'paused']);
    if (savesMemory)
      await checkHostSaves(this.#upstream, domain.ref, 'take the snapshot with --disk-only, or while it is shut off');
    await this.#libxl.checkDomainSnapshotSave(domain.ref.id, args);
  }

  async save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    // The images that the guest runs on: without xlsnap, too, a restore must not write to the bases of its overlays.
    const domainXml = writeElement((await liveDefinition(this.#upstream, this.#liveDisks, domain)).element);
    await checkSameDomain(this.#upstream, domain.ref);
    let suspended = false;
    const phase = async (phase: SavePhase): Promise<void> => {
      await job.phase(phase);
      suspended = requestedMemoryPath(args) !== undefined;
    };
    try {
      const { signal } = job;
      const progress: Job['progress'] = (bytes) => job.progress(bytes);
      return await this.#libxl.domainSnapshotSave(domain.ref.id, name, args, { domainXml, signal, phase, progress });
    } finally {
      // Also after a failure: the guest may have been suspended before it.
      if (suspended) await this.#deathWatch.rearm(domain);
    }
  }

  /** A domain that an earlier daemon worked on through libvirt comes back as it does there. */
  async recover(domain: Domain, interrupted: Interruption): Promise<void> {
    const { phase, mechanism } = interrupted;
    if (!isActive(domain) || mechanism === 'libvirt') {
      await this.#savedDomains.recover(domain, interrupted);
      return;
    }
    if (!SAVE_STOPS.has(phase)) return;
    await this.#libxl.domainSnapshotRecover(domain.ref.id, phase);
    await this.#deathWatch.rearm(domain);
  }

  async deleteDiskSnapshots({ ref }: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    if (disks.length === 0) return;
    await checkSameDomain(this.#upstream, ref);
    const monitor = () => this.#libxl.qmpSocketOf(ref.id);
    const hold = () => this.#libxl.domainHold(ref.id);
    await deleteLiveSnapshots({ name, disks, monitor, hold, signal: neverAborted() });
  }

  async checkCommit({ ref }: Domain, layers: readonly LayerCommit[]): Promise<void> {
    if (layers.length > 0) await checkLiveLayers(await this.#libxl.qmpSocketOf(ref.id), layers);
  }

  async commit({ ref }: Domain, layers: readonly LayerCommit[], job: MergeJob): Promise<void> {
    if (layers.length === 0) return;
    await checkSameDomain(this.#upstream, ref);
    await commitLiveLayers({ socket: await this.#libxl.qmpSocketOf(ref.id), layers, ...job });
  }

  async closeDetached({ ref }: Domain, disks: readonly string[]): Promise<void> {
    try {
      const socket = await this.#libxl.qmpSocketOf(ref.id);
      for (const disk of disks) await deleteDetached(socket, disk);
    } catch (error) {
      const left = `images of disks that were detached from domain '${ref.name}' may still be open in its device model`;
      this.#log(`${left}: ${asLibvirtError(error).detail}`);
    }
  }

  async freeze(domain: Domain): Promise<AsyncDisposable> {
    return await freezeGuest(await domainDefinition(this.#upstream, domain, 'live'));
  }

  async checkRestore({ ref }: Domain, { path, name, disks }: SavedMemory, definition: DomainDefinition): Promise<void> {
    await checkSavedImage(this.#upstream, ref, path, definition);
    await checkTie(path, name, disks);
  }

  hostMemory(): Promise<HostMemory> {
    return this.#libxl.hostMemory();
  }

  retie({ path, name, disks }: SavedMemory): Promise<void> {
    return retie(path, name, disks);
  }

  /** Refuses overlays of a transient domain that libvirtd would start again, from the live definition that it knows. */
  async #checkReboot(domain: Domain, { disks = [] }: LibxlDomainSnapshotArgs): Promise<void> {
    const overlay = disks.find(({ external }) => external);
    if (domain.persistent || !overlay) return;
    const event = restartingEvent((await domainDefinition(this.#upstream, domain, 'live')).element);
    if (!event) return;
    throw new LibvirtError(
      'OPERATION_INVALID',
      `external snapshot of disk '${overlay.disk.vdev}' of transient domain '${domain.ref.name}' is not supported: at its next ` +
        `start by <${event}> it would run on the base image; define the domain first, or ask for an internal snapshot`,
    );
  }
}
