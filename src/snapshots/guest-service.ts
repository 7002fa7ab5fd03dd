/** Calls that a guest's agent answers: those who copy disks themselves freeze file systems, stacks ask for what is in the guest. */

import { LibvirtError } from '../errors.ts';
import { type DomainDefinition, type DomainRef, isActive } from '../model/domain.ts';
import { refuseUnknownFlags } from '../model/flags.ts';
import type { FileSystem, GuestTime } from '../model/guests/agent.ts';
import type { GuestApi } from './api.ts';
import type { SnapshotContext } from './context.ts';

/** virDomainQemuAgentCommandTimeoutValues. */
const TIMEOUT = { BLOCK: -2, DEFAULT: -1 } as const;
const DEFAULT_MS = 5_000;
/** A caller who would wait for ever. */
const BLOCK_MS = 3_600_000;
/** virDomainSetTimeFlags. */
const SET_TIME = { SYNC: 0x1 } as const;

/** The agent of the guest with this live definition. ARGUMENT_UNSUPPORTED (74) without one. */
export interface GuestAgent {
  agentCommand(live: DomainDefinition, json: string, timeoutMs: number): Promise<string>;
  guestTime(live: DomainDefinition): Promise<GuestTime>;
  setGuestTime(live: DomainDefinition, time: GuestTime | undefined): Promise<void>;
  guestFileSystems(live: DomainDefinition): Promise<readonly FileSystem[]>;
  freezeFileSystems(live: DomainDefinition, mountpoints: readonly string[]): Promise<number>;
  thawFileSystems(live: DomainDefinition): Promise<number>;
}

/** The guest API over one host. */
export class GuestService implements GuestApi {
  readonly #context: Pick<SnapshotContext, 'host'>;
  readonly #agent: GuestAgent;

  constructor(context: Pick<SnapshotContext, 'host'>, agent: GuestAgent) {
    this.#context = context;
    this.#agent = agent;
  }

  async freeze(domain: DomainRef, mountpoints: readonly string[], flags: number): Promise<number> {
    refuseUnknownFlags(flags, 0, 'libxlDomainFSFreeze');
    return await this.#agent.freezeFileSystems(await this.#live(domain), mountpoints);
  }

  /** Does not wait for other operations: a guest that is frozen must come out of it. */
  async thaw(domain: DomainRef, mountpoints: readonly string[], flags: number): Promise<number> {
    refuseUnknownFlags(flags, 0, 'libxlDomainFSThaw');
    if (mountpoints.length > 0) {
      throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'specifying mountpoints is not supported');
    }
    return await this.#agent.thawFileSystems(await this.#live(domain));
  }

  async agentCommand(domain: DomainRef, json: string, timeout: number, flags: number): Promise<string> {
    refuseUnknownFlags(flags, 0, 'libxlDomainQemuAgentCommand');
    if (timeout < TIMEOUT.BLOCK) {
      const text = `guest agent timeout '${timeout}' is less than the minimum '${TIMEOUT.BLOCK}'`;
      throw new LibvirtError('INVALID_ARG', text);
    }
    return await this.#agent.agentCommand(await this.#live(domain), json, agentTimeout(timeout));
  }

  async time(domain: DomainRef, flags: number): Promise<GuestTime> {
    refuseUnknownFlags(flags, 0, 'libxlDomainGetTime');
    return await this.#agent.guestTime(await this.#live(domain));
  }

  async setTime(domain: DomainRef, time: GuestTime, flags: number): Promise<void> {
    refuseUnknownFlags(flags, SET_TIME.SYNC, 'libxlDomainSetTime');
    await this.#agent.setGuestTime(await this.#live(domain), flags & SET_TIME.SYNC ? undefined : time);
  }

  async fileSystems(domain: DomainRef, flags: number): Promise<readonly FileSystem[]> {
    refuseUnknownFlags(flags, 0, 'libxlDomainGetFSInfo');
    return await this.#agent.guestFileSystems(await this.#live(domain));
  }

  async #live(ref: DomainRef): Promise<DomainDefinition> {
    const { host } = this.#context;
    const domain = await host.lookup(ref);
    if (!isActive(domain)) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return await host.definition(domain, 'live');
  }
}

/** Of a caller's timeout, in milliseconds. */
function agentTimeout(seconds: number): number {
  if (seconds === TIMEOUT.BLOCK) return BLOCK_MS;
  if (seconds === TIMEOUT.DEFAULT) return DEFAULT_MS;
  return Math.min(Math.max(seconds * 1000, 1), BLOCK_MS);
}
