/** One embedded domain: its definition and, while it is active, its RAM and its device model. */

import { join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import { type Domain, type DomainDefinition, type DomainRef, type DomainState, REASONS } from '../../model/domain.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { GuestMemory } from './memory.ts';
import { StorageDaemon } from './storage-daemon.ts';

/** The parts of an active domain. */
export interface Run {
  readonly id: number;
  /** The definition it was started from, in inactive format. */
  readonly definition: DomainDefinition;
  readonly memory: GuestMemory;
  readonly devices: StorageDaemon;
}

/** How a domain starts: `folder` for the files of this run; `reason` for virDomainGetState. */
export interface StartOptions {
  readonly folder: string;
  readonly id: number;
  readonly definition: DomainDefinition;
  /** RAM of a restored guest. If it is left out the guest boots, and its RAM is zero. */
  readonly ram?: Buffer;
  readonly paused: boolean;
  readonly reason: number;
}

/** An embedded domain, running or not. Every change is made within `exclusive`. */
export class EmbeddedDomain {
  readonly uuid: string;
  /** The definition that the domain starts from next. */
  definition: DomainDefinition;
  persistent: boolean;
  /** Its next start resumes a managed save. */
  managedSave = false;
  #run: Run | undefined;
  #reason: number = REASONS.shutoff.unknown;
  #lastWork: Promise<unknown> = Promise.resolve();

  constructor(uuid: string, definition: DomainDefinition, persistent: boolean) {
    this.uuid = uuid;
    this.definition = definition;
    this.persistent = persistent;
  }

  get ref(): DomainRef {
    return { name: domainName(this.definition.element), uuid: this.uuid, id: this.#run?.id ?? -1 };
  }

  get state(): DomainState {
    if (!this.#run) return 'shutoff';
    return this.#run.memory.running ? 'running' : 'paused';
  }

  get reason(): number {
    return this.#reason;
  }

  get isActive(): boolean {
    return this.#run !== undefined;
  }

  /** The parts of the running domain. Refuses (55) if it does not run. */
  get run(): Run {
    if (!this.#run) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return this.#run;
  }

  /** The definition of the running domain; of an inactive one, the one that it starts from next. */
  get liveDefinition(): DomainDefinition {
    return this.#run?.definition ?? this.definition;
  }

  /** Set when disks have got other active images. */
  set liveDefinition(definition: DomainDefinition) {
    if (this.#run) this.#run = { ...this.#run, definition };
    if (!this.#run || !this.persistent) this.definition = definition;
  }

  /** The domain's state at this moment, for the policy. */
  snapshot(): Domain {
    const { ref, state, persistent, managedSave } = this;
    return { ref, state, persistent, ...(managedSave && { managedSave }) };
  }

  /** Runs one piece of work at a time on the domain, in the order of the calls. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastWork.then(work);
    this.#lastWork = result.catch(() => {});
    return result;
  }

  async start({ folder, id, definition, ram, paused, reason }: StartOptions): Promise<void> {
    if (this.#run) throw new LibvirtError('OPERATION_INVALID', 'Domain is already running');
    const devices = await StorageDaemon.start(folder, id, definition.disks.map(libxlDeviceDisk));
    try {
      const memory = await GuestMemory.create(join(folder, `${id}.ram`), ram);
      this.#run = { id, definition, memory, devices };
      this.#reason = reason;
      if (!paused) memory.run();
    } catch (error) {
      await devices[Symbol.asyncDispose]();
      throw error;
    }
  }

  async stop(reason: number): Promise<void> {
    const { memory, devices } = this.run;
    this.#run = undefined;
    this.#reason = reason;
    await memory[Symbol.asyncDispose]();
    await devices[Symbol.asyncDispose]();
  }

  /** Returns false if the domain was paused already. */
  async pause(): Promise<boolean> {
    const { memory } = this.run;
    if (!memory.running) return false;
    await memory.pause();
    this.#reason = REASONS.paused.user;
    return true;
  }

  /** Returns false if the domain was running already. */
  resume(): boolean {
    const { memory } = this.run;
    if (memory.running) return false;
    memory.run();
    this.#reason = REASONS.running.unpaused;
    return true;
  }
}
