/** Snapshots of libvirtd's Xen domains by libxl itself, beside libvirtd: the guest stops for moments only. */

import { deleteInternalSnapshots } from '../disks/internal-snapshots.ts';
import { diskNodes, memoryPathOf } from '../libxl/check.ts';
import { checkLibxlStream, readMemoryImage } from '../libxl/memory-image.ts';
import type { domainSnapshotRecover } from '../libxl/recover.ts';
import type { checkDomainSnapshotSave, domainSnapshotSave, SavePhase } from '../libxl/save.ts';
import { type Domain, isActive } from '../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { Phase } from '../model/phases.ts';
import type { Interruption, Job } from '../snapshots/ports.ts';
import { writeElement } from '../xml/write.ts';
import type { DeathWatch } from './death-watch.ts';
import { domainDefinition } from './definition.ts';
import { checkImageOwner } from './image-owner.ts';
import type { Mechanism } from './libvirt.ts';
import { checkSameDomain, checkSavable } from './save-rules.ts';
import type { Upstream } from './upstream.ts';

/** libxl's part: the functions of src/libxl, and where a device model listens. */
export interface LibxlSnapshots {
  readonly checkDomainSnapshotSave: typeof checkDomainSnapshotSave;
  readonly domainSnapshotSave: typeof domainSnapshotSave;
  readonly domainSnapshotRecover: typeof domainSnapshotRecover;
  qmpSocketOf(domid: number): Promise<string>;
}

export interface BesideLibvirtOptions {
  readonly upstream: Upstream;
  readonly libxl: LibxlSnapshots;
  readonly deathWatch: DeathWatch;
}

/** Phases in which the guest stands, or libvirtd has yet to be told that it went on. */
const STOPS: ReadonlySet<Phase> = new Set<SavePhase>(['saving', 'suspended', 'paused', 'disks-done']);

export class BesideLibvirt implements Mechanism {
  readonly #upstream: Upstream;
  readonly #libxl: LibxlSnapshots;
  readonly #deathWatch: DeathWatch;

  constructor({ upstream, libxl, deathWatch }: BesideLibvirtOptions) {
    this.#upstream = upstream;
    this.#libxl = libxl;
    this.#deathWatch = deathWatch;
  }

  async checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    checkSavable(domain, memoryPathOf(args) === undefined ? ['running', 'paused'] : ['running']);
    await this.#libxl.checkDomainSnapshotSave(domain.ref.id, args);
  }

  async save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    const domainXml = writeElement(await domainDefinition(this.#upstream, domain, 'live'));
    await checkSameDomain(this.#upstream, domain.ref);
    let suspended = false;
    const phase = async (phase: SavePhase): Promise<void> => {
      await job.phase(phase);
      suspended = memoryPathOf(args) !== undefined;
    };
    try {
      const { signal } = job;
      const progress: Job['progress'] = (bytes) => job.progress(bytes);
      return await this.#libxl.domainSnapshotSave(domain.ref.id, name, args, { domainXml, signal, phase, progress });
    } finally {
      // After a failure too: the guest may have been suspended before it.
      if (suspended) await this.#deathWatch.rearm(domain);
    }
  }

  async recover(domain: Domain, { phase }: Interruption): Promise<void> {
    if (!isActive(domain) || !STOPS.has(phase)) return;
    await this.#libxl.domainSnapshotRecover(domain.ref.id, phase);
    await this.#deathWatch.rearm(domain);
  }

  async deleteDiskSnapshots({ ref }: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    const nodes = diskNodes(disks);
    if (nodes.length === 0) return;
    await checkSameDomain(this.#upstream, ref);
    const socket = await this.#libxl.qmpSocketOf(ref.id);
    await deleteInternalSnapshots({ socket, name, nodes, signal: new AbortController().signal });
  }

  async checkRestore({ ref }: Domain, memoryPath: string): Promise<void> {
    const image = await readMemoryImage(memoryPath);
    checkImageOwner(ref, image.domainXml);
    await checkLibxlStream(image);
  }
}
