/** One domain's snapshots: what is in memory, kept equal to what is on disk. */

import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { entryOf, type SnapshotDef, type SnapshotEntry } from '../model/snapshot.ts';
import { SnapshotTree } from '../model/tree.ts';
import { domainUuid } from '../xml/domain/domain.ts';
import type { SnapshotStore } from './ports.ts';

/** Hears that a snapshot has come or gone, by its name. */
type OnChange = (kind: 'created' | 'deleted', domain: DomainRef, name: string) => void;

/**
 * Refuses a snapshot of another domain: the folder bears the domain's name alone, and one that was undefined behind our
 * back may have left it to its namesake. Nothing of it is this domain's to change.
 */
export function checkOwner({ name, uuid }: DomainRef, snapshot: SnapshotDef): void {
  const owner = snapshot.domain && domainUuid(snapshot.domain.element);
  if (owner === undefined || owner === uuid) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `snapshot '${snapshot.name}' is of a domain with uuid ${owner}, not of domain '${name}', whose uuid is ${uuid}: ` +
      'delete it with --metadata, which keeps its data',
  );
}

export class DomainSnapshots {
  readonly tree: SnapshotTree<SnapshotEntry>;
  readonly #store: SnapshotStore;
  readonly #log: (text: string) => void;
  readonly #changed: OnChange;
  #ref: DomainRef;
  #current: string | undefined;

  private constructor(
    ref: DomainRef,
    store: SnapshotStore,
    log: (text: string) => void,
    tree: SnapshotTree<SnapshotEntry>,
    changed: OnChange,
  ) {
    this.#ref = ref;
    this.tree = tree;
    this.#store = store;
    this.#log = log;
    this.#changed = changed;
  }

  /** Reads the domain's folder. With broken relations libvirt knows no current snapshot, and neither do we. */
  static async load(
    ref: DomainRef,
    store: SnapshotStore,
    log: (text: string) => void,
    changed: OnChange = () => {},
  ): Promise<DomainSnapshots> {
    const { entries, current } = await store.load(ref);
    const { tree, consistent } = SnapshotTree.of(entries);
    const snapshots = new DomainSnapshots(ref, store, log, tree, changed);
    if (consistent) snapshots.#current = current;
    else log(`Snapshots have inconsistent relations for domain ${ref.name}`);
    return snapshots;
  }

  /** The domain, by the name it had last. */
  get ref(): DomainRef {
    return this.#ref;
  }

  get current(): SnapshotEntry | undefined {
    return this.#current === undefined ? undefined : this.tree.get(this.#current);
  }

  /** The snapshot, or libvirt's error 72. */
  find(name: string): SnapshotEntry {
    const entry = this.tree.get(name);
    if (!entry) throw new LibvirtError('NO_DOMAIN_SNAPSHOT', `no domain snapshot with matching name '${name}'`);
    return entry;
  }

  read(name: string): Promise<SnapshotDef> {
    return this.#store.read(this.ref, name);
  }

  /** The document that clients are given; `secure`: with passwords. */
  describe(name: string, secure: boolean): Promise<string> {
    return this.#store.describe(this.ref, this.find(name).name, secure);
  }

  /**
   * Writes a new or replaced snapshot, as the current one where `current` says so. Once its file is written, it is there:
   * the former current one is then told so, and where that fails its file claims too much, which loads.
   */
  async put(snapshot: SnapshotDef, current: boolean): Promise<void> {
    const before = this.#current;
    const isCurrent = current || before === snapshot.name;
    const isNew = !this.tree.has(snapshot.name);
    await this.#store.write(this.ref, snapshot, isCurrent);
    this.tree.put(entryOf(snapshot));
    if (isCurrent && before !== snapshot.name) {
      this.#current = snapshot.name;
      await this.#yieldCurrent(before);
    }
    if (isNew) this.#changed('created', this.ref, snapshot.name);
  }

  /** The domain's snapshots go with it to its new name. */
  async follow(ref: DomainRef): Promise<void> {
    if (ref.name === this.#ref.name) return;
    await this.#store.rename(this.#ref, ref);
    this.#ref = ref;
  }

  /** Moves `current`, in memory and in the files concerned. */
  async setCurrent(name: string | undefined): Promise<void> {
    const before = this.#current;
    if (before === name) return;
    if (name !== undefined) await this.#rewrite(name, (snapshot) => snapshot, true);
    this.#current = name;
    await this.#yieldCurrent(before);
  }

  /** Removes a snapshot; its children go to its parent, and so does `current` (virDomainMomentDrop…). */
  async remove(name: string): Promise<void> {
    const entry = this.find(name);
    const parent = this.tree.parentOf(name)?.name;
    for (const child of this.tree.children(name)) await this.#reparent(child.name, parent);
    if (this.#current === name) await this.setCurrent(parent);
    await this.#store.remove(this.ref, entry.name);
    this.tree.remove(name);
    this.#changed('deleted', this.ref, name);
  }

  async #reparent(name: string, parent: string | undefined): Promise<void> {
    const reparented = ({ parent: _, ...snapshot }: SnapshotDef): SnapshotDef =>
      parent === undefined ? snapshot : { ...snapshot, parent };
    await this.#rewrite(name, reparented, this.#current === name);
  }

  /** Two files that claim to be current do not keep each other from loading: this is no reason to fail. */
  async #yieldCurrent(name: string | undefined): Promise<void> {
    if (name === undefined || !this.tree.has(name)) return;
    await this.#rewrite(name, (snapshot) => snapshot, false).catch((error) => this.#log(asLibvirtError(error).message));
  }

  async #rewrite(name: string, change: (snapshot: SnapshotDef) => SnapshotDef, current: boolean): Promise<void> {
    const snapshot = change(await this.read(name));
    await this.#store.write(this.ref, snapshot, current);
    this.tree.put(entryOf(snapshot));
  }
}
