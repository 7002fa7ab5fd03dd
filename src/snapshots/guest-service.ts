/** Calls that a guest's agent answers: those who copy disks themselves freeze file systems, stacks ask for what is in the guest. */

import { LibvirtError } from '../errors.ts';
import { type DomainDefinition, type DomainRef, isActive } from '../model/domain.ts';
import { allFlags, refuseUnknownFlags } from '../model/flags.ts';
import {
  type FileSystem,
  GUEST_INFO,
  type GuestFact,
  type GuestInfoKind,
  type GuestTime,
  type GuestVcpu,
  type PowerAction,
} from '../model/guests/agent.ts';
import { formatCpuMap, parseCpuMap } from '../model/guests/cpu-map.ts';
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
  guestInformation(
    live: DomainDefinition,
    kinds: readonly GuestInfoKind[],
    optional: boolean,
  ): Promise<readonly GuestFact[]>;
  guestVcpus(live: DomainDefinition): Promise<readonly GuestVcpu[]>;
  setGuestVcpus(live: DomainDefinition, ids: readonly number[], online: boolean): Promise<void>;
  agentShutdown(live: DomainDefinition, mode: PowerAction): Promise<void>;
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

  /** `types`: bits of GUEST_INFO; 0: all that the agent has. */
  async information(domain: DomainRef, types: number, flags: number): Promise<readonly GuestFact[]> {
    refuseUnknownFlags(flags, 0, 'libxlDomainGetGuestInfo');
    const unknown = (types & ~allFlags(GUEST_INFO)) >>> 0;
    if (unknown !== 0) {
      throw new LibvirtError('INVALID_ARG', `unsupported guest information types '0x${unknown.toString(16)}'`);
    }
    const kinds = Object.entries(GUEST_INFO).flatMap(([kind, bit]) => (types === 0 || types & bit ? [kind] : []));
    return await this.#agent.guestInformation(await this.#live(domain), kinds as GuestInfoKind[], types === 0);
  }

  async vcpus(domain: DomainRef, flags: number): Promise<readonly GuestVcpu[]> {
    refuseUnknownFlags(flags, 0, 'libxlDomainGetGuestVcpus');
    return await this.#agent.guestVcpus(await this.#live(domain));
  }

  async setVcpus(domain: DomainRef, cpumap: string, state: number, flags: number): Promise<void> {
    refuseUnknownFlags(flags, 0, 'libxlDomainSetGuestVcpus');
    if (state !== 0 && state !== 1) throw new LibvirtError('INVALID_ARG', 'unsupported state value');
    const wanted = parseCpuMap(cpumap);
    const live = await this.#live(domain);
    const known = await this.#agent.guestVcpus(live);
    const chosen = known.filter(({ id }) => wanted.has(id));
    const fixed = chosen.find(({ offlinable }) => state === 0 && !offlinable);
    if (fixed) throw new LibvirtError('OPERATION_UNSUPPORTED', `vCPU '${fixed.id}' is not offlinable`);
    const lacking = [...wanted].filter((id) => !known.some((each) => each.id === id));
    if (lacking.length > 0) {
      throw new LibvirtError('INVALID_ARG', `guest is missing vCPUs '${formatCpuMap(lacking)}'`);
    }
    const ids = chosen.map(({ id }) => id);
    if (ids.length > 0) await this.#agent.setGuestVcpus(live, ids, state === 1);
  }

  async power(domain: DomainRef, mode: PowerAction): Promise<void> {
    await this.#agent.agentShutdown(await this.#live(domain), mode);
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
