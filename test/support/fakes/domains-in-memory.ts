/** A DomainApi in memory, for the front without an upstream. */

import { LibvirtError } from '../../../src/errors.ts';
import type { DomainRef, DomainState, DomainSummary } from '../../../src/model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../../src/model/events.ts';
import type { DomainApi } from '../../../src/rpc/server/domain-api.ts';
import type { LifecycleEvents } from '../../../src/snapshots/ports/host.ts';

interface Kept {
  name: string;
  readonly uuid: string;
  id: number;
  state: DomainState;
  persistent: boolean;
}

export class MemoryDomains implements DomainApi {
  readonly type = 'TEST';
  readonly guests = [{ osType: 'hvm', types: ['test'] }];
  readonly #kept = new Map<string, Kept>();
  readonly #events: LifecycleEvents;
  #lastId = 0;

  constructor(events: LifecycleEvents) {
    this.#events = events;
  }

  async domains(): Promise<readonly DomainSummary[]> {
    return [...this.#kept.values()].map(({ name, uuid, id, state, persistent }) => ({
      ref: { name, uuid, id },
      state,
      reason: 0,
      persistent,
      maxMemoryKib: 65_536n,
      memoryKib: 32_768n,
      vcpus: 2,
      osType: 'hvm',
    }));
  }

  async domain({ uuid }: DomainRef): Promise<DomainSummary> {
    const found = (await this.domains()).find(({ ref }) => ref.uuid === uuid);
    if (!found) throw new LibvirtError('NO_DOMAIN', `no domain with matching uuid '${uuid}'`);
    return found;
  }

  async xmlDesc({ uuid }: DomainRef): Promise<string> {
    const { name, id } = this.#find(uuid);
    return `<domain type='test'${id < 0 ? '' : ` id='${id}'`}>\n  <name>${name}</name>\n  <uuid>${uuid}</uuid>\n</domain>\n`;
  }

  async define(xml: string): Promise<DomainRef> {
    return this.#add(xml, true);
  }

  async undefine({ uuid }: DomainRef): Promise<void> {
    const kept = this.#find(uuid);
    kept.persistent = false;
    if (kept.id < 0) this.#kept.delete(uuid);
    this.#tell(kept, LIFECYCLE.UNDEFINED_REMOVED);
  }

  async rename({ uuid }: DomainRef, name: string): Promise<void> {
    this.#find(uuid).name = name;
  }

  async createXML(xml: string): Promise<DomainRef> {
    return this.create(this.#add(xml, false), { paused: false });
  }

  async create({ uuid }: DomainRef, { paused }: { readonly paused: boolean }): Promise<DomainRef> {
    const kept = this.#find(uuid);
    this.#lastId += 1;
    kept.id = this.#lastId;
    return this.#become(kept, paused ? 'paused' : 'running', LIFECYCLE.STARTED_BOOTED);
  }

  async destroy({ uuid }: DomainRef): Promise<void> {
    this.#stop(this.#find(uuid), LIFECYCLE.STOPPED_DESTROYED);
  }

  async shutdown({ uuid }: DomainRef): Promise<void> {
    this.#stop(this.#find(uuid), LIFECYCLE.STOPPED_SHUTDOWN);
  }

  async reboot({ uuid }: DomainRef): Promise<void> {
    this.#find(uuid);
  }

  async suspend({ uuid }: DomainRef): Promise<void> {
    this.#become(this.#find(uuid), 'paused', LIFECYCLE.SUSPENDED_PAUSED);
  }

  async resume({ uuid }: DomainRef): Promise<void> {
    this.#become(this.#find(uuid), 'running', LIFECYCLE.RESUMED_UNPAUSED);
  }

  #stop(kept: Kept, event: LifecycleEvent): void {
    if (kept.id < 0) throw new LibvirtError('OPERATION_INVALID', 'domain is not running', { domain: 'DOMAIN' });
    kept.id = -1;
    if (!kept.persistent) this.#kept.delete(kept.uuid);
    this.#become(kept, 'shutoff', event);
  }

  #become(kept: Kept, state: DomainState, event: LifecycleEvent): DomainRef {
    kept.state = state;
    return this.#tell(kept, event);
  }

  #tell({ name, uuid, id }: Kept, event: LifecycleEvent): DomainRef {
    this.#events.emit({ name, uuid, id }, event);
    return { name, uuid, id };
  }

  #add(xml: string, persistent: boolean): DomainRef {
    const name = /<name>(.*?)<\/name>/.exec(xml)?.[1];
    if (name === undefined) throw new LibvirtError('XML_ERROR', 'missing domain name', { domain: 'DOMAIN' });
    const uuid = `00000000-0000-0000-0000-${String(this.#kept.size + 1).padStart(12, '0')}`;
    const kept: Kept = { name, uuid, id: -1, state: 'shutoff', persistent };
    this.#kept.set(uuid, kept);
    return { name, uuid, id: -1 };
  }

  #find(uuid: string): Kept {
    const kept = this.#kept.get(uuid);
    if (!kept) throw new LibvirtError('NO_DOMAIN', `no domain with matching uuid '${uuid}'`);
    return kept;
  }
}
