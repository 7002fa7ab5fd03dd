/**
 * The snapshot API over one host: every call finds its domain's snapshots, checks its flags, and calls its operation.
 */

import { asLibvirtError, isLibvirtError, LibvirtError } from '../errors.ts';
import { type DomainRef, isActive } from '../model/domain.ts';
import { CREATE, XML } from '../model/flags.ts';
import type { SnapshotRow } from '../model/snapshot.ts';
import { validateSnapshot } from '../xml/engine/validate.ts';
import type { ActiveJob, CompletedJob, SnapshotApi, SnapshotChange, SnapshotRef } from './api.ts';
import type { SnapshotContext } from './context.ts';
import { checkCreation, createSnapshot } from './create/create.ts';
import { deleteSnapshot } from './delete/delete.ts';
import { checkUnprotected, setProtected } from './delete/protection.ts';
import { DomainSnapshots } from './domain-snapshots.ts';
import { checkFlags, type DriverFunction } from './flag-rules.ts';
import { countOfDomain, countOfSnapshot, currentOf, listOfDomain, listOfSnapshot, parentOf } from './list.ts';
import { recover } from './recovery.ts';
import { redefineSnapshot } from './redefine.ts';
import { revertToSnapshot } from './revert/revert.ts';

/** The snapshot API. Disposing cancels the jobs and waits for their end. */
export class SnapshotService implements SnapshotApi, AsyncDisposable {
  readonly #context: SnapshotContext;
  /** By UUID. A promise, so that two callers load a domain's folder once. */
  readonly #domains = new Map<string, Promise<DomainSnapshots>>();
  /** Those that are loaded, for answers that cannot wait. */
  readonly #loaded = new Map<string, DomainSnapshots>();
  readonly #forgetting = new Map<string, Promise<void>>();
  readonly #listeners: ((change: SnapshotChange) => void)[] = [];

  private constructor(context: Omit<SnapshotContext, 'snapshotsOf'>) {
    this.#context = { ...context, snapshotsOf: (ref) => this.#load(ref) };
    context.jobs.onReport((domain, job) => this.#tell({ kind: 'job', domain, job }));
  }

  /** Loads the stored snapshots of every domain the host knows, and recovers interrupted operations. */
  static async open(context: Omit<SnapshotContext, 'snapshotsOf'>): Promise<SnapshotService> {
    const service = new SnapshotService(context);
    const domains = await context.host.list();
    await context.store.adopt(domains.map(({ ref }) => ref));
    await Promise.all(domains.map(({ ref }) => service.#load(ref)));
    await recover(service.#context);
    const logged = (work: Promise<void>): void =>
      void work.catch((error) => context.log(asLibvirtError(error).message));
    // Waits for a running job: a revert ends a transient domain and starts it again.
    context.host.onGone((ref) => logged(context.jobs.exclusive(ref, () => service.forget(ref.uuid))));
    context.host.onRenamed(({ uuid }) => {
      const snapshots = service.#loaded.get(uuid);
      if (snapshots) logged(service.#follow(snapshots));
    });
    return service;
  }

  /** The parts that it works with, for services beside it that keep the same domains consistent. */
  get context(): SnapshotContext {
    return this.#context;
  }

  /** Calls back with every change of a snapshot, and every report of a job, of all clients. */
  onChange(listener: (change: SnapshotChange) => void): void {
    this.#listeners.push(listener);
  }

  async createXML(domain: DomainRef, xml: string, flags: number): Promise<SnapshotRef> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotCreateXML', flags);
    if (flags & CREATE.VALIDATE) await validateSnapshot(xml);
    const operation = flags & CREATE.REDEFINE ? redefineSnapshot : createSnapshot;
    return { name: await operation(this.#context, snapshots, xml, flags), domain };
  }

  async checkCreate(domain: DomainRef, xml: string, flags: number): Promise<string> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotCreateXML', flags);
    if (flags & CREATE.REDEFINE) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'a redefinition cannot be checked');
    if (flags & CREATE.VALIDATE) await validateSnapshot(xml);
    return await checkCreation(this.#context, snapshots, xml, flags);
  }

  async getXMLDesc({ domain, name }: SnapshotRef, flags: number): Promise<string> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotGetXMLDesc', flags);
    return await snapshots.describe(name, (flags & XML.SECURE) !== 0);
  }

  async num(domain: DomainRef, flags: number): Promise<number> {
    return countOfDomain(await this.#enter(domain, 'libxlDomainSnapshotNum', flags), flags);
  }

  async listNames(domain: DomainRef, flags: number): Promise<readonly string[]> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotListNames', flags);
    return listOfDomain(snapshots, flags).map(({ name }) => name);
  }

  async listAll(domain: DomainRef, flags: number): Promise<readonly SnapshotRef[]> {
    const snapshots = await this.#enter(domain, 'libxlDomainListAllSnapshots', flags);
    return listOfDomain(snapshots, flags).map(({ name }) => ({ name, domain }));
  }

  async lookupByName(domain: DomainRef, name: string, flags: number): Promise<SnapshotRef> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotLookupByName', flags);
    return { name: snapshots.find(name).name, domain };
  }

  async hasCurrent(domain: DomainRef, flags: number): Promise<boolean> {
    const snapshots = await this.#enter(domain, 'libxlDomainHasCurrentSnapshot', flags);
    return snapshots.current !== undefined;
  }

  async current(domain: DomainRef, flags: number): Promise<SnapshotRef> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotCurrent', flags);
    return { name: currentOf(snapshots).name, domain };
  }

  async getParent({ domain, name }: SnapshotRef, flags: number): Promise<SnapshotRef> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotGetParent', flags);
    return { name: parentOf(snapshots, name), domain };
  }

  async numChildren(snapshot: SnapshotRef, flags: number): Promise<number> {
    const snapshots = await this.#enter(snapshot.domain, 'libxlDomainSnapshotNumChildren', flags);
    return countOfSnapshot(snapshots, snapshots.find(snapshot.name).name, flags);
  }

  async listChildrenNames(snapshot: SnapshotRef, flags: number): Promise<readonly string[]> {
    return await this.#children(snapshot, 'libxlDomainSnapshotListChildrenNames', flags);
  }

  async listAllChildren(snapshot: SnapshotRef, flags: number): Promise<readonly SnapshotRef[]> {
    const names = await this.#children(snapshot, 'libxlDomainSnapshotListAllChildren', flags);
    return names.map((name) => ({ name, domain: snapshot.domain }));
  }

  async isCurrent({ domain, name }: SnapshotRef, flags: number): Promise<boolean> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotIsCurrent', flags);
    return snapshots.find(name).name === snapshots.current?.name;
  }

  async hasMetadata({ domain, name }: SnapshotRef, flags: number): Promise<boolean> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotHasMetadata', flags);
    snapshots.find(name);
    return true;
  }

  async revert({ domain, name }: SnapshotRef, flags: number): Promise<void> {
    const snapshots = await this.#enter(domain, 'libxlDomainRevertToSnapshot', flags);
    await revertToSnapshot(this.#context, snapshots, name, flags);
    this.#tell({ kind: 'reverted', domain: snapshots.ref, name });
  }

  async delete({ domain, name }: SnapshotRef, flags: number): Promise<void> {
    const snapshots = await this.#enter(domain, 'libxlDomainSnapshotDelete', flags);
    await deleteSnapshot(this.#context, snapshots, name, flags);
  }

  async setProtected({ domain, name }: SnapshotRef, on: boolean): Promise<void> {
    await setProtected(this.#context, await this.#find(domain), name, on);
  }

  async listProtected(domain: DomainRef): Promise<readonly string[]> {
    const snapshots = await this.#find(domain);
    return [...this.#context.protectedNames.of(snapshots.ref)].filter((name) => snapshots.tree.has(name));
  }

  async listRows(domain: DomainRef): Promise<readonly SnapshotRow[]> {
    return (await this.#find(domain)).tree.all();
  }

  count(uuid: string): number {
    return this.#loaded.get(uuid)?.tree.size ?? 0;
  }

  job(uuid: string): ActiveJob | undefined {
    return this.#context.jobs.active(uuid);
  }

  completedJob(uuid: string, keep: boolean): CompletedJob | undefined {
    return this.#context.jobs.completed(uuid, keep);
  }

  async checkUndefine(domain: DomainRef, metadata: boolean): Promise<void> {
    const snapshots = this.#loaded.get(domain.uuid);
    if (snapshots && snapshots.ref.name !== domain.name) await this.#follow(snapshots);
    // A running job may define the domain again.
    await this.#context.jobs.exclusive(domain, async () => {
      if (snapshots) checkUnprotected(this.#context, snapshots.ref, snapshots.tree.all());
      const count = this.count(domain.uuid);
      if (count === 0 || metadata || isActive(await this.#context.host.lookup(domain))) return;
      throw new LibvirtError('OPERATION_INVALID', `cannot delete inactive domain with ${count} snapshots`);
    });
  }

  /** An undefine and the event it causes may both ask; the second waits for the first. */
  async forget(uuid: string): Promise<void> {
    const forgetting = this.#forgetting.get(uuid) ?? this.#forget(uuid);
    this.#forgetting.set(uuid, forgetting);
    try {
      await forgetting;
    } finally {
      this.#forgetting.delete(uuid);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.jobs[Symbol.asyncDispose]();
  }

  #tell(change: SnapshotChange): void {
    try {
      for (const listener of this.#listeners) listener(change);
    } catch (error) {
      // A listener's failure must not undo an operation that has succeeded.
      this.#context.log(asLibvirtError(error).message);
    }
  }

  async #enter(domain: DomainRef, driverFunction: DriverFunction, flags: number): Promise<DomainSnapshots> {
    checkFlags(driverFunction, flags);
    return await this.#find(domain);
  }

  async #find(domain: DomainRef): Promise<DomainSnapshots> {
    const known = this.#domains.get(domain.uuid);
    if (!known) return await this.#load((await this.#context.host.lookup(domain)).ref);
    const snapshots = await known;
    if (snapshots.ref.name !== domain.name) await this.#follow(snapshots);
    return snapshots;
  }

  /** Moves the snapshots if the host knows the domain by another name. A client's name may be an old one. */
  async #follow(snapshots: DomainSnapshots): Promise<void> {
    const { ref } = await this.#context.host.lookup(snapshots.ref);
    if (ref.name === snapshots.ref.name) return;
    await this.#context.jobs.exclusive(ref, () => snapshots.follow(ref));
  }

  async #forget(uuid: string): Promise<void> {
    const snapshots = await this.#domains.get(uuid);
    if (!snapshots || (await this.#isKnown(snapshots.ref))) return;
    this.#domains.delete(uuid);
    this.#loaded.delete(uuid);
    for (const { name } of snapshots.tree.all()) {
      await this.#context.store.remove(snapshots.ref, name);
      this.#tell({ kind: 'deleted', domain: snapshots.ref, name });
    }
    await this.#context.protectedNames.set(snapshots.ref, new Set());
  }

  async #isKnown(ref: DomainRef): Promise<boolean> {
    try {
      await this.#context.host.lookup(ref);
      return true;
    } catch (error) {
      if (isLibvirtError(error, 'NO_DOMAIN')) return false;
      throw error;
    }
  }

  #load(ref: DomainRef): Promise<DomainSnapshots> {
    const known = this.#domains.get(ref.uuid);
    if (known) return known;
    const { store, log } = this.#context;
    const loading = DomainSnapshots.load(ref, store, log, (kind, domain, name) => this.#tell({ kind, domain, name }));
    this.#domains.set(ref.uuid, loading);
    loading.then(
      (snapshots) => this.#loaded.set(ref.uuid, snapshots),
      () => this.#domains.delete(ref.uuid),
    );
    return loading;
  }

  async #children(snapshot: SnapshotRef, driverFunction: DriverFunction, flags: number): Promise<readonly string[]> {
    const snapshots = await this.#enter(snapshot.domain, driverFunction, flags);
    snapshots.find(snapshot.name);
    return listOfSnapshot(snapshots, snapshot.name, flags).map(({ name }) => name);
  }
}
