/** A SnapshotApi in memory: enough of its behaviour for the fronts to be tested with real clients. */

import { LibvirtError } from '../../../src/errors.ts';
import type { DaemonStatus } from '../../../src/model/daemon-status.ts';
import type { DomainRef } from '../../../src/model/domain.ts';
import { LIFECYCLE } from '../../../src/model/events.ts';
import type { SnapshotRow } from '../../../src/model/snapshot.ts';
import type { ProxyOptions } from '../../../src/rpc/proxy/proxy-context.ts';
import type { ActiveJob, CompletedJob, SnapshotApi, SnapshotRef } from '../../../src/snapshots/api.ts';
import type { LifecycleEvents } from '../../../src/snapshots/ports/host.ts';

export const FAKE_STATUS: DaemonStatus = {
  version: '0.0.0',
  mechanism: 'libvirt',
  reason: 'a test',
  snapshotDir: '/snapshot',
  memoryDir: '/memory',
  stateDir: '/state',
};

/** For a proxy whose upstream knows of every domain what there is to know. */
export const NOTHING_ELSE: Pick<ProxyOptions, 'overlaid' | 'reverted' | 'sendBuffer' | 'status'> = {
  status: FAKE_STATUS,
  sendBuffer: () => {},
  overlaid: {
    any: () => false,
    has: () => false,
    definition: (xml) => xml,
    checkUndefine: async () => {},
    checkMigrate: async () => {},
    devicesChanged: async () => {},
  },
  reverted: { any: () => false, reason: () => undefined },
};

interface Kept {
  readonly name: string;
  readonly parent: string | undefined;
  readonly description: string;
}

interface Family {
  readonly all: Map<string, Kept>;
  current: string | undefined;
}

export class MemorySnapshots implements SnapshotApi {
  readonly #families = new Map<string, Family>();
  readonly #events: LifecycleEvents;
  /** `UUID NAME`. */
  readonly #protected = new Set<string>();
  /** Awaited by every create: tests hold it back. */
  gate: Promise<void> = Promise.resolve();
  /** By UUID: tests put them there. */
  readonly jobs = new Map<string, ActiveJob>();
  readonly completed = new Map<string, CompletedJob>();

  constructor(events: LifecycleEvents) {
    this.#events = events;
  }

  async createXML(domain: DomainRef, xml: string): Promise<SnapshotRef> {
    await this.gate;
    const family = this.#family(domain.uuid);
    const name = /<name>(.*?)<\/name>/.exec(xml)?.[1] ?? `s${family.all.size + 1}`;
    if (family.all.has(name)) {
      throw new LibvirtError('OPERATION_FAILED', `domain snapshot ${name} already exists`, { domain: 'DOMAIN' });
    }
    family.all.set(name, { name, parent: family.current, description: /<description>(.*?)</s.exec(xml)?.[1] ?? '' });
    family.current = name;
    return { name, domain };
  }

  async getXMLDesc({ name, domain }: SnapshotRef): Promise<string> {
    const { parent, description } = this.#find(domain, name);
    const parentXml = parent === undefined ? '' : `<parent><name>${parent}</name></parent>`;
    return `<domainsnapshot><name>${name}</name><description>${description}</description><state>running</state>${parentXml}<creationTime>1700000000</creationTime></domainsnapshot>`;
  }

  async num(domain: DomainRef): Promise<number> {
    return this.count(domain.uuid);
  }

  async listNames(domain: DomainRef): Promise<readonly string[]> {
    return [...this.#family(domain.uuid).all.keys()];
  }

  async listAll(domain: DomainRef): Promise<readonly SnapshotRef[]> {
    return (await this.listNames(domain)).map((name) => ({ name, domain }));
  }

  async lookupByName(domain: DomainRef, name: string): Promise<SnapshotRef> {
    return { name: this.#find(domain, name).name, domain };
  }

  async hasCurrent(domain: DomainRef): Promise<boolean> {
    return this.#family(domain.uuid).current !== undefined;
  }

  async current(domain: DomainRef): Promise<SnapshotRef> {
    const name = this.#family(domain.uuid).current;
    if (name === undefined) throw new LibvirtError('NO_DOMAIN_SNAPSHOT', 'the domain does not have a current snapshot');
    return { name, domain };
  }

  async getParent({ name, domain }: SnapshotRef): Promise<SnapshotRef> {
    const { parent } = this.#find(domain, name);
    if (parent === undefined) {
      throw new LibvirtError('NO_DOMAIN_SNAPSHOT', `snapshot '${name}' does not have a parent`);
    }
    return { name: parent, domain };
  }

  async numChildren(snapshot: SnapshotRef): Promise<number> {
    return (await this.listChildrenNames(snapshot)).length;
  }

  async listChildrenNames({ name, domain }: SnapshotRef): Promise<readonly string[]> {
    return [...this.#family(domain.uuid).all.values()].filter(({ parent }) => parent === name).map((kept) => kept.name);
  }

  async listAllChildren(snapshot: SnapshotRef): Promise<readonly SnapshotRef[]> {
    return (await this.listChildrenNames(snapshot)).map((name) => ({ name, domain: snapshot.domain }));
  }

  async isCurrent({ name, domain }: SnapshotRef): Promise<boolean> {
    return this.#family(domain.uuid).current === this.#find(domain, name).name;
  }

  async hasMetadata({ name, domain }: SnapshotRef): Promise<boolean> {
    return this.#find(domain, name).name === name;
  }

  async revert({ name, domain }: SnapshotRef): Promise<void> {
    this.#family(domain.uuid).current = this.#find(domain, name).name;
    this.#events.emit({ ...domain, id: -1 }, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
    this.#events.emit(domain, LIFECYCLE.STARTED_FROM_SNAPSHOT);
  }

  async delete({ name, domain }: SnapshotRef): Promise<void> {
    const { parent } = this.#find(domain, name);
    const family = this.#family(domain.uuid);
    family.all.delete(name);
    for (const kept of family.all.values()) {
      if (kept.parent === name) family.all.set(kept.name, { ...kept, parent });
    }
    if (family.current === name) family.current = parent;
  }

  async checkCreate(_domain: DomainRef, xml: string): Promise<string> {
    return xml;
  }

  async setProtected({ name, domain }: SnapshotRef, on: boolean): Promise<void> {
    const kept = `${domain.uuid} ${this.#find(domain, name).name}`;
    if (on) this.#protected.add(kept);
    else this.#protected.delete(kept);
  }

  async listProtected(domain: DomainRef): Promise<readonly string[]> {
    return (await this.listNames(domain)).filter((name) => this.#protected.has(`${domain.uuid} ${name}`));
  }

  async listRows(domain: DomainRef): Promise<readonly SnapshotRow[]> {
    return [...this.#family(domain.uuid).all.values()].map(
      ({ name, parent }): SnapshotRow => ({
        name,
        state: 'running',
        creationTime: 0n,
        ...(parent !== undefined && { parent }),
      }),
    );
  }

  count(uuid: string): number {
    return this.#families.get(uuid)?.all.size ?? 0;
  }

  job(uuid: string): ActiveJob | undefined {
    return this.jobs.get(uuid);
  }

  completedJob(uuid: string, keep: boolean): CompletedJob | undefined {
    const job = this.completed.get(uuid);
    if (!keep) this.completed.delete(uuid);
    return job;
  }

  async checkUndefine(domain: DomainRef, metadata: boolean): Promise<void> {
    const count = this.count(domain.uuid);
    if (domain.id >= 0 || metadata || count === 0) return;
    throw new LibvirtError('OPERATION_INVALID', `cannot delete inactive domain with ${count} snapshots`);
  }

  async forget(uuid: string): Promise<void> {
    this.#families.delete(uuid);
  }

  #family(uuid: string): Family {
    const family = this.#families.get(uuid) ?? { all: new Map(), current: undefined };
    this.#families.set(uuid, family);
    return family;
  }

  #find(domain: DomainRef, name: string): Kept {
    const kept = this.#family(domain.uuid).all.get(name);
    if (!kept) throw new LibvirtError('NO_DOMAIN_SNAPSHOT', `no domain snapshot with matching name '${name}'`);
    return kept;
  }
}
