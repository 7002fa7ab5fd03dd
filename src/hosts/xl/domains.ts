/** All domains of an xl host, asked of libxl and read from files each time; every change that is seen is an event for clients. */

import { LibvirtError } from '../../errors.ts';
import { type DomainDefinition, type DomainRef, isActive } from '../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import { asConfig, type XlConfig } from '../../xml/xl/config.ts';
import type { ConfigFiles } from './config-files.ts';
import { configOfDomain0, definitionOfConfig, endOf, joined, reasonOf, type XlDomain } from './domain.ts';
import type { LibxlReader } from './reading.ts';

interface XlDomainsOptions {
  readonly reader: LibxlReader;
  readonly files: ConfigFiles;
  readonly events: LifecycleEvents;
}

/** The set of domains. */
export class XlDomains {
  readonly #reader: LibxlReader;
  readonly #files: ConfigFiles;
  readonly #events: LifecycleEvents;
  readonly #renamedListeners: ((ref: DomainRef) => void)[] = [];
  /** UUIDs of domains whose changes are our own work. */
  readonly #quiet = new Set<string>();
  readonly #working = new Map<string, Promise<void>>();
  /** Why a domain is in its state, by UUID, if a snapshot is the reason. */
  readonly #reasons = new Map<string, { readonly id: number; readonly state: string; readonly reason: number }>();
  /** The config that a running domain was first seen with, by domid: its kind and its memory stay. */
  #configs = new Map<number, XlConfig>();
  #seen: ReadonlyMap<string, XlDomain> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor({ reader, files, events }: XlDomainsOptions) {
    this.#reader = reader;
    this.#files = files;
    this.#events = events;
  }

  /** As they are now. One call after the other, so that each change is one event. */
  all(): Promise<readonly XlDomain[]> {
    const listed = this.#turn.then(() => this.#list());
    this.#turn = listed.catch(() => {});
    return listed;
  }

  /** Finds a domain by UUID; NO_DOMAIN (42) if there is none. */
  async find({ uuid, name }: DomainRef): Promise<XlDomain> {
    const found = (await this.all()).find(({ ref }) => ref.uuid === uuid);
    const named = name === '' ? '' : ` (${name})`;
    if (!found) throw new LibvirtError('NO_DOMAIN', `no domain with matching uuid '${uuid}'${named}`);
    return found;
  }

  /** Refuses (55) a domain that does not run. */
  async findActive(ref: DomainRef): Promise<XlDomain> {
    const found = await this.find(ref);
    if (!isActive(found)) throw new LibvirtError('OPERATION_INVALID', 'domain is not running');
    return found;
  }

  /** Of the domain as it runs, or as its file configures it; if it has only one of them, that one. */
  async definition(domain: XlDomain, which: 'live' | 'persistent'): Promise<DomainDefinition> {
    return definitionOfConfig(await this.#config(domain, which), domain.ref.uuid);
  }

  /** The config of a running domain when it was first seen, or of its file: for what does not change. */
  config(domain: XlDomain): XlConfig {
    const known = domain.running && this.#configs.get(domain.running.domid);
    return known ?? domain.configured?.config ?? { c_info: {}, b_info: {} };
  }

  /** One of REASONS. */
  reason(domain: XlDomain): number {
    const { ref, state } = domain;
    const known = this.#reasons.get(ref.uuid);
    return known?.id === ref.id && known.state === state ? known.reason : reasonOf(domain);
  }

  /** Records why the domain is in the state that it has now. */
  async setReason(ref: DomainRef, reason: number): Promise<XlDomain> {
    const domain = await this.find(ref);
    this.#reasons.set(ref.uuid, { id: domain.ref.id, state: domain.state, reason });
    return domain;
  }

  /** Runs operations on one domain one after the other. */
  async exclusive<T>({ uuid }: DomainRef, work: () => Promise<T>): Promise<T> {
    const run = (this.#working.get(uuid) ?? Promise.resolve()).then(work);
    const ended = run.then(
      () => {},
      () => {},
    );
    this.#working.set(uuid, ended);
    try {
      return await run;
    } finally {
      if (this.#working.get(uuid) === ended) this.#working.delete(uuid);
    }
  }

  /** The same, for work of our own: changes of the domain in it are no events. */
  async alone<T>(ref: DomainRef, work: () => Promise<T>): Promise<T> {
    return await this.exclusive(ref, async () => {
      await this.all();
      this.#quiet.add(ref.uuid);
      try {
        return await work();
      } finally {
        await this.all().catch(() => {});
        this.#quiet.delete(ref.uuid);
      }
    });
  }

  emit(ref: DomainRef, event: LifecycleEvent): void {
    this.#events.emit(ref, event);
  }

  /** A domain without a file keeps its UUID under a new name (`xl rename`). */
  onRenamed(listener: (ref: DomainRef) => void): void {
    this.#renamedListeners.push(listener);
  }

  async #list(): Promise<readonly XlDomain[]> {
    const [running, configured] = [await this.#reader.listDomains(), await this.#files.list()];
    const domains = joined(running, configured);
    const configs = new Map<number, XlConfig>();
    for (const { running: info } of domains) {
      if (!info) continue;
      const known = this.#configs.get(info.domid) ?? (await this.#live(info.domid, info).catch(() => undefined));
      if (known) configs.set(info.domid, known);
    }
    this.#configs = configs;
    const now = new Map(domains.map((domain) => [domain.ref.uuid, domain]));
    const before = this.#seen;
    this.#seen = now;
    if (before) this.#report(before, now);
    return domains;
  }

  async #config(domain: XlDomain, which: 'live' | 'persistent'): Promise<XlConfig> {
    const { running, configured } = domain;
    if (configured && (which === 'persistent' || !running)) return configured.config;
    if (!running) throw new LibvirtError('INTERNAL_ERROR', `domain '${domain.ref.name}' has no configuration`);
    return await this.#live(running.domid, running);
  }

  async #live(domid: number, info: NonNullable<XlDomain['running']>): Promise<XlConfig> {
    if (domid === 0) return configOfDomain0(info);
    return asConfig(await this.#reader.domainConfig(domid), `libxl's config of domain '${info.name}'`);
  }

  #report(before: ReadonlyMap<string, XlDomain>, now: ReadonlyMap<string, XlDomain>): void {
    for (const [uuid, old] of before) {
      const domain = now.get(uuid);
      const isOver = isActive(old) && domain?.ref.id !== old.ref.id;
      if (isOver && !this.#quiet.has(uuid)) this.emit({ ...old.ref, id: -1 }, endOf(old));
      if (old.configured && !domain?.configured) this.emit({ ...old.ref, id: -1 }, LIFECYCLE.UNDEFINED_REMOVED);
      if (domain && domain.ref.name !== old.ref.name) for (const each of this.#renamedListeners) each(domain.ref);
    }
    for (const [uuid, domain] of now) {
      const old = before.get(uuid);
      if (domain.configured && !old?.configured) this.emit(domain.ref, LIFECYCLE.DEFINED_ADDED);
      else if (domain.configured && old?.configured?.config !== domain.configured.config && isChanged(old, domain)) {
        this.emit(domain.ref, LIFECYCLE.DEFINED_UPDATED);
      }
      if (this.#quiet.has(uuid) || !isActive(domain)) continue;
      if (old?.ref.id !== domain.ref.id) this.emit(domain.ref, LIFECYCLE.STARTED_BOOTED);
      else if (old.state === 'running' && domain.state === 'paused') this.emit(domain.ref, LIFECYCLE.SUSPENDED_PAUSED);
      else if (old.state === 'paused' && domain.state === 'running') this.emit(domain.ref, LIFECYCLE.RESUMED_UNPAUSED);
    }
  }
}

function isChanged(old: XlDomain | undefined, { configured }: XlDomain): boolean {
  return JSON.stringify(old?.configured?.config) !== JSON.stringify(configured?.config);
}
