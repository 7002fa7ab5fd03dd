/** The embedded domains for ordinary clients: the calls that virsh list, start, destroy and the like need. */

import { LibvirtError } from '../../errors.ts';
import { type DomainDefinition, type DomainRef, type DomainSummary, REASONS } from '../../model/domain.ts';
import { textAt } from '../../model/element.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { XML } from '../../model/flags.ts';
import { domainMemoryKib } from '../../xml/domain/domain.ts';
import { withoutSecrets } from '../../xml/domain/formats.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkImageOwner } from '../saved-definition.ts';
import { GUESTS, readDefinition, withId } from './definitions.ts';
import type { EmbeddedDomain } from './domain.ts';
import { readSavedDomain } from './domain-saves.ts';
import type { EmbeddedDomains } from './domains.ts';
import type { ManagedSaves } from './managed-saves.ts';

/** The front's DomainApi (src/rpc/server/domain-api.ts). */
export class EmbeddedDomainApi {
  /** virConnectGetType of libvirt's own driver for `test:///default`. */
  readonly type = 'TEST';
  readonly guests = GUESTS;
  readonly #domains: EmbeddedDomains;
  readonly #managed: ManagedSaves;

  constructor(domains: EmbeddedDomains, managed: ManagedSaves) {
    this.#domains = domains;
    this.#managed = managed;
  }

  async domains(): Promise<readonly DomainSummary[]> {
    return this.#domains.all().map(summary);
  }

  async domain(ref: DomainRef): Promise<DomainSummary> {
    return summary(this.#domains.find(ref));
  }

  async xmlDesc(ref: DomainRef, flags: number): Promise<string> {
    const domain = this.#domains.find(ref);
    const live = domain.isActive && !(flags & XML.INACTIVE);
    const definition = live ? withId(domain.run.definition, domain.run.id) : domain.definition.element;
    return writeElement(flags & XML.SECURE ? definition : withoutSecrets(definition));
  }

  async define(xml: string): Promise<DomainRef> {
    return this.#domains.define(readDefinition(xml)).ref;
  }

  async undefine(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => this.#domains.undefine(domain));
  }

  async rename(ref: DomainRef, name: string): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => this.#domains.rename(domain, name));
  }

  async createXML(xml: string): Promise<DomainRef> {
    const domain = await this.#domains.createTransient(readDefinition(xml), {
      paused: false,
      reason: REASONS.running.booted,
      event: LIFECYCLE.STARTED_BOOTED,
    });
    return domain.ref;
  }

  async create(ref: DomainRef, { paused }: { readonly paused: boolean }): Promise<DomainRef> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(() =>
      domain.managedSave ? this.#resume(domain, paused) : this.#boot(domain, domain.definition, paused),
    );
    return domain.ref;
  }

  /** virDomainRestoreFlags: a domain that nobody has defined is a transient one afterwards. */
  async restore(path: string, { paused }: { readonly paused: boolean }): Promise<void> {
    const { definition, ram } = await readSavedDomain(path);
    const domain = await this.#domains.createTransient(definition, { ram, ...restoredAs(paused) });
    if (paused) this.#domains.emit(domain, LIFECYCLE.SUSPENDED_PAUSED);
  }

  async removeManagedSave(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(() => this.#managed.remove(domain));
  }

  async destroy(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(() => this.#domains.end(domain, REASONS.shutoff.destroyed, LIFECYCLE.STOPPED_DESTROYED));
  }

  /** Does not ask the guest: it is off at once. */
  async shutdown(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(() => this.#domains.end(domain, REASONS.shutoff.shutdown, LIFECYCLE.STOPPED_SHUTDOWN));
  }

  /** No guest is there that could be asked. */
  async reboot(): Promise<void> {
    throw new LibvirtError('NO_SUPPORT', 'virDomainReboot');
  }

  async suspend(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => {
      if (await domain.pause()) this.#domains.emit(domain, LIFECYCLE.SUSPENDED_PAUSED);
    });
  }

  async resume(ref: DomainRef): Promise<void> {
    const domain = this.#domains.find(ref);
    await domain.exclusive(async () => {
      if (domain.resume()) this.#domains.emit(domain, LIFECYCLE.RESUMED_UNPAUSED);
    });
  }

  async #boot(domain: EmbeddedDomain, definition: DomainDefinition, paused: boolean): Promise<void> {
    const reason = paused ? REASONS.paused.user : REASONS.running.booted;
    await this.#domains.start(domain, { definition, paused, reason, event: LIFECYCLE.STARTED_BOOTED });
    if (paused) this.#domains.emit(domain, LIFECYCLE.SUSPENDED_PAUSED);
  }

  /** With the definition in the managed save, which is removed when the domain runs. */
  async #resume(domain: EmbeddedDomain, paused: boolean): Promise<void> {
    const path = this.#managed.pathOf(domain);
    const { definition, ram } = await readSavedDomain(path);
    checkImageOwner(domain.ref, { path, xml: writeElement(definition.element) });
    await this.#domains.start(domain, { definition, ram, ...restoredAs(paused) });
    await this.#managed.remove(domain);
    if (paused) this.#domains.emit(domain, LIFECYCLE.SUSPENDED_PAUSED);
  }
}

const restoredAs = (paused: boolean) => ({
  paused,
  reason: paused ? REASONS.paused.user : REASONS.running.restored,
  event: LIFECYCLE.STARTED_RESTORED,
});

function summary(domain: EmbeddedDomain): DomainSummary {
  const { ref, state, reason, persistent, managedSave, liveDefinition } = domain;
  const { element: definition } = liveDefinition;
  const maxMemoryKib = BigInt(domainMemoryKib(definition));
  return {
    ref,
    state,
    reason,
    persistent,
    ...(managedSave && { managedSave }),
    maxMemoryKib,
    memoryKib: maxMemoryKib,
    vcpus: Number(textAt(definition, 'vcpu') ?? 1),
    osType: textAt(definition, 'os', 'type') ?? 'xen',
  };
}
