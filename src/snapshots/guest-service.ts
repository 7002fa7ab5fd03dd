/** Calls that a guest's agent answers: file systems are frozen and thawed by those who copy disks themselves. */

import { LibvirtError } from '../errors.ts';
import { type DomainDefinition, type DomainRef, isActive } from '../model/domain.ts';
import { refuseUnknownFlags } from '../model/flags.ts';
import type { GuestApi } from './api.ts';
import type { SnapshotContext } from './context.ts';

/** The agent of the guest with this live definition. ARGUMENT_UNSUPPORTED (74) without one. */
export interface GuestAgent {
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

  async #live(ref: DomainRef): Promise<DomainDefinition> {
    const { host } = this.#context;
    const domain = await host.lookup(ref);
    if (!isActive(domain)) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return await host.definition(domain, 'live');
  }
}
