/** One domain's snapshots: in memory, kept equal to the files on disk. */

import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { entryOf, type SnapshotDef, type SnapshotEntry } from '../model/snapshot.ts';
import { SnapshotTree } from '../model/tree.ts';
import { domainUuid } from '../xml/domain/domain.ts';
import type { SnapshotStore } from './ports/store.ts';

/** Called with the name of a snapshot that was added or removed. */
type OnChange = (kind: 'created' | 'deleted', domain: DomainRef, name: string) => void;

/**
 * Refuses a snapshot of another domain: a folder has only the domain's name, and a domain that was undefined while
 * xlsnapd did not run may have left its folder to another one of the same name.
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

/** The snapshots of one domain. Methods that change them resolve when the files are on stable storage. */
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

  /** Reads the domain's folder. With a broken tree there is no current snapshot, as in libvirt. */
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

  /** The domain, with the last name that is known. */
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
   * Writes a new or replaced snapshot, as the current one if `current` is set. Then the previous current snapshot's
   * file is rewritten. If that fails, two files claim to be current, which load() tolerates.
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

  /** Moves the snapshots to the domain's new name. */
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

  /** Rewrites a file that is no longer current. Does not fail: load() tolerates two files that claim to be current. */
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
