/** Saves guests of xl by libxl: the monitor of a guest stays, and acts on its next reboot or end as before. */

import type { domainHold } from '../../libxl/hold.ts';
import type { domainSnapshotRecover } from '../../libxl/recover.ts';
import type { checkDomainSnapshotSave, domainSnapshotSave, SavePhase } from '../../libxl/save.ts';
import { requestedMemoryPath } from '../../memory/requested-path.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { SAVE_STOPS } from '../../model/phases.ts';
import type { Interruption } from '../../snapshots/ports/host.ts';
import type { Job } from '../../snapshots/ports/jobs.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkSameRun } from './domain.ts';
import type { XlDomains } from './domains.ts';
import type { Monitors } from './monitors.ts';

/** The functions of src/libxl that are used here. */
export interface LibxlSaves {
  readonly checkDomainSnapshotSave: typeof checkDomainSnapshotSave;
  readonly domainSnapshotSave: typeof domainSnapshotSave;
  readonly domainSnapshotRecover: typeof domainSnapshotRecover;
  readonly domainHold: typeof domainHold;
}

/** The parts of XlSaves. */
export interface XlSavesOptions {
  readonly domains: XlDomains;
  readonly libxl: LibxlSaves;
  readonly monitors: Monitors;
  /** True for Xen until 4.19, whose monitors leave at a suspend. */
  readonly monitorsLeave: boolean;
  readonly log: (text: string) => void;
}

/** Host.checkSave, Host.save and Host.recover. */
export class XlSaves {
  readonly #domains: XlDomains;
  readonly #libxl: LibxlSaves;
  readonly #monitors: Monitors;
  readonly #monitorsLeave: boolean;
  readonly #log: (text: string) => void;

  constructor({ domains, libxl, monitors, monitorsLeave, log }: XlSavesOptions) {
    this.#domains = domains;
    this.#libxl = libxl;
    this.#monitors = monitors;
    this.#monitorsLeave = monitorsLeave;
    this.#log = log;
  }

  async check({ ref }: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    await this.#libxl.checkDomainSnapshotSave(ref.id, args);
  }

  /** The monitor is stopped once the journal says that the guest is being saved: recovery continues it. */
  async save({ ref }: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    const domain = await this.#domains.find(ref);
    checkSameRun(domain, ref);
    const domainXml = writeElement((await this.#domains.definition(domain, 'live')).element);
    const holds = this.#monitorsLeave && requestedMemoryPath(args) !== undefined;
    let held: AsyncDisposable | undefined;
    const phase = async (phase: SavePhase): Promise<void> => {
      await job.phase(phase);
      if (holds && phase === 'saving') held = await this.#hold(ref.name, ref.id);
    };
    const progress: Job['progress'] = (bytes) => job.progress(bytes);
    try {
      const options = { domainXml, signal: job.signal, phase, progress };
      return await this.#libxl.domainSnapshotSave(ref.id, name, args, options);
    } finally {
      await held?.[Symbol.asyncDispose]();
    }
  }

  async recover(domain: Domain, { phase }: Interruption): Promise<void> {
    const { id } = domain.ref;
    if (isActive(domain) && SAVE_STOPS.has(phase)) await this.#libxl.domainSnapshotRecover(id, phase);
    // Those of guests that are gone see it, and end.
    const active = new Set((await this.#domains.all()).map(({ ref }) => ref.id));
    await this.#monitors.releaseLeft((domid) => domid === id || !active.has(domid));
  }

  async #hold(name: string, domid: number): Promise<AsyncDisposable | undefined> {
    const held = await this.#monitors.hold(domid);
    if (!held) {
      const ends = `nobody acts when its guest shuts down or reboots; 'xl destroy ${domid}' ends it then`;
      this.#log(`domain '${name}' has no monitor of xl: ${ends}`);
    }
    return held;
  }
}
