/** All embedded domains, by UUID; names are unique, and every change emits its lifecycle event. */

import { LibvirtError } from '../../errors.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import { renamed } from '../../xml/domain/definition.ts';
import { domainName, domainUuid } from '../../xml/domain/domain.ts';
import { EmbeddedDomain, type StartOptions } from './domain.ts';
import { KeptDefinition } from './kept-definition.ts';

/** How a domain is to start; the folder and the id are chosen here. */
type Start = Omit<StartOptions, 'folder' | 'id'> & { readonly event: LifecycleEvent };

/** The set of embedded domains. Disposing ends all that run. */
export class EmbeddedDomains implements AsyncDisposable {
  readonly #folder: string;
  readonly #kept: KeptDefinition;
  readonly #events: LifecycleEvents;
  readonly #byUuid = new Map<string, EmbeddedDomain>();
  readonly #goneListeners: ((ref: DomainRef) => void)[] = [];
  readonly #renamedListeners: ((ref: DomainRef) => void)[] = [];
  #lastId = 0;

  /** `first`: the definition of the domain `test` if no earlier run has left another one. */
  constructor(folder: string, events: LifecycleEvents, first: DomainDefinition) {
    this.#folder = folder;
    this.#kept = new KeptDefinition(folder, first);
    this.#events = events;
  }

  all(): readonly EmbeddedDomain[] {
    return [...this.#byUuid.values()];
  }

  /** Finds a domain by UUID; NO_DOMAIN (42) if there is none. */
  find({ uuid, name }: DomainRef): EmbeddedDomain {
    const found = this.#byUuid.get(uuid);
    // A caller may know the UUID alone.
    const named = name === '' ? '' : ` (${name})`;
    if (!found) throw new LibvirtError('NO_DOMAIN', `no domain with matching uuid '${uuid}'${named}`);
    return found;
  }

  onGone(listener: (ref: DomainRef) => void): void {
    this.#goneListeners.push(listener);
  }

  onRenamed(listener: (ref: DomainRef) => void): void {
    this.#renamedListeners.push(listener);
  }

  /** Makes `definition` the one that the domain starts from next; adds a domain if none has this UUID. */
  define(definition: DomainDefinition, event: 'emitted' | 'suppressed' = 'emitted'): EmbeddedDomain {
    const known = this.#named(definition);
    const domain = known ?? this.#add(definition);
    const updated = known?.persistent === true;
    domain.persistent = true;
    this.setDefinition(domain, definition);
    if (event === 'emitted') this.emit(domain, updated ? LIFECYCLE.DEFINED_UPDATED : LIFECYCLE.DEFINED_ADDED);
    return domain;
  }

  /**
   * Sets the definition that the domain starts from next. A persistent `test` keeps it for the next run of this host.
   */
  setDefinition(domain: EmbeddedDomain, definition: DomainDefinition): void {
    domain.definition = definition;
    if (domain.persistent) this.#kept.write(domain.uuid, definition);
  }

  /** The definition of the domain `test` that an earlier run has left; undefined if there is none. */
  get keptDefinition(): DomainDefinition | undefined {
    return this.#kept.read();
  }

  /** Makes a running domain transient: it is removed when it ends. Removes an inactive one at once. */
  undefine(domain: EmbeddedDomain): void {
    if (!domain.persistent && domain.isActive) {
      throw new LibvirtError('OPERATION_INVALID', 'cannot undefine transient domain');
    }
    domain.persistent = false;
    domain.definition = domain.liveDefinition;
    this.#kept.remove(domain.uuid);
    this.emit(domain, LIFECYCLE.UNDEFINED_REMOVED);
    this.#dropIfGone(domain);
  }

  /** Makes virDomainObjListRename's checks, in its order and words. */
  rename(domain: EmbeddedDomain, name: string): void {
    if (domain.isActive) throw new LibvirtError('OPERATION_INVALID', 'cannot rename active domain');
    if (domain.managedSave) {
      throw new LibvirtError('OPERATION_INVALID', "domain with a managed saved state can't be renamed");
    }
    if (name === domain.ref.name) throw new LibvirtError('OPERATION_INVALID', "Can't rename domain to itself");
    if (this.all().some(({ ref }) => ref.name === name)) {
      throw new LibvirtError('OPERATION_INVALID', `domain with name '${name}' already exists`);
    }
    if (name.includes('/')) throw new LibvirtError('XML_ERROR', `name ${name} cannot contain '/'`);
    this.emit(domain, LIFECYCLE.UNDEFINED_RENAMED);
    this.setDefinition(domain, renamed(domain.definition, name));
    this.emit(domain, LIFECYCLE.DEFINED_RENAMED);
    for (const listener of this.#renamedListeners) listener(domain.ref);
  }

  /** Starts a transient domain, or a persistent one that is off with a definition for this run only. */
  async createTransient(definition: DomainDefinition, start: Omit<Start, 'definition'>): Promise<EmbeddedDomain> {
    const known = this.#named(definition);
    if (known?.isActive) {
      throw new LibvirtError('OPERATION_INVALID', `domain is already active as '${known.ref.name}'`);
    }
    const domain = known ?? this.#add(definition);
    try {
      await domain.exclusive(() => this.start(domain, { ...start, definition }));
    } finally {
      this.#dropIfGone(domain);
    }
    return domain;
  }

  /** Must be called within the domain's `exclusive`. */
  async start(domain: EmbeddedDomain, { event, ...options }: Start): Promise<void> {
    await domain.start({ ...options, folder: this.#folder, id: ++this.#lastId });
    this.emit(domain, event);
  }

  /** Ends a domain for good: a transient one is removed. Must be called within the domain's `exclusive`. */
  async end(domain: EmbeddedDomain, reason: number, event: LifecycleEvent): Promise<void> {
    await this.stop(domain, reason, event);
    this.#dropIfGone(domain);
  }

  /** Ends a domain that is about to be started again. Must be called within the domain's `exclusive`. */
  async stop(domain: EmbeddedDomain, reason: number, event: LifecycleEvent): Promise<void> {
    await domain.stop(reason);
    this.emit(domain, event);
  }

  emit(domain: EmbeddedDomain, event: LifecycleEvent): void {
    this.#events.emit(domain.ref, event);
  }

  /** Ends all running domains, without events: the host itself ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const domain of this.all()) {
      await domain.exclusive(async () => {
        if (domain.isActive) await domain.stop(0);
      });
    }
  }

  /** Returns the known domain of a definition. Name and UUID must belong together (virDomainObjListAdd). */
  #named(definition: DomainDefinition): EmbeddedDomain | undefined {
    const uuid = uuidOf(definition);
    const name = domainName(definition.element);
    const known = this.#byUuid.get(uuid);
    if (known && known.ref.name !== name) {
      const text = `domain '${known.ref.name}' is already defined with uuid ${uuid}`;
      throw new LibvirtError('OPERATION_FAILED', text, { domain: 'DOMAIN' });
    }
    const other = this.all().find((domain) => domain.ref.name === name);
    if (other && other !== known) {
      const text = `domain '${name}' already exists with uuid ${other.uuid}`;
      throw new LibvirtError('OPERATION_FAILED', text, { domain: 'DOMAIN' });
    }
    return known;
  }

  #add(definition: DomainDefinition): EmbeddedDomain {
    const domain = new EmbeddedDomain(uuidOf(definition), definition, false);
    this.#byUuid.set(domain.uuid, domain);
    return domain;
  }

  #dropIfGone(domain: EmbeddedDomain): void {
    if (domain.persistent || domain.isActive) return;
    this.#byUuid.delete(domain.uuid);
    for (const listener of this.#goneListeners) listener(domain.ref);
  }
}

function uuidOf(definition: DomainDefinition): string {
  const uuid = domainUuid(definition.element);
  if (uuid === undefined) throw new LibvirtError('INTERNAL_ERROR', 'malformed uuid element', { domain: 'DOMAIN' });
  return uuid;
}
