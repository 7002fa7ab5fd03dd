/** One embedded domain: its definition, and while it is active its RAM and its device model. */

import { join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import { type Domain, type DomainDefinition, type DomainRef, type DomainState, REASONS } from '../../model/domain.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { GuestMemory } from './memory.ts';
import { StorageDaemon } from './storage-daemon.ts';

/** What exists while a domain is active. */
export interface Run {
  readonly id: number;
  /** The definition it was started from, in inactive format. */
  readonly definition: DomainDefinition;
  readonly memory: GuestMemory;
  readonly devices: StorageDaemon;
}

export interface StartOptions {
  readonly folder: string;
  readonly id: number;
  readonly definition: DomainDefinition;
  /** RAM of a restored guest; a booted one begins with zeroes. */
  readonly ram?: Buffer;
  readonly paused: boolean;
  readonly reason: number;
}

export class EmbeddedDomain {
  readonly uuid: string;
  /** As the domain would start next. */
  definition: DomainDefinition;
  persistent: boolean;
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

  /** What it runs on. Refuses (55) where it does not. */
  get run(): Run {
    if (!this.#run) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return this.#run;
  }

  /** The definition that counts now. */
  get liveDefinition(): DomainDefinition {
    return this.#run?.definition ?? this.definition;
  }

  /** For disks that stand on other images by now. */
  set liveDefinition(definition: DomainDefinition) {
    if (this.#run) this.#run = { ...this.#run, definition };
    if (!this.#run || !this.persistent) this.definition = definition;
  }

  /** How the policy sees it. */
  snapshot(): Domain {
    return { ref: this.ref, state: this.state, persistent: this.persistent };
  }

  /** One piece of work at a time on each domain, in the order of the calls. */
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

  /** Says whether that changed anything. */
  async pause(): Promise<boolean> {
    const { memory } = this.run;
    if (!memory.running) return false;
    await memory.pause();
    this.#reason = REASONS.paused.user;
    return true;
  }

  /** Says whether that changed anything. */
  resume(): boolean {
    const { memory } = this.run;
    if (memory.running) return false;
    memory.run();
    this.#reason = REASONS.running.unpaused;
    return true;
  }
}
