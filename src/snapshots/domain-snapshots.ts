/** One domain's snapshots: what is in memory, kept equal to what is on disk. */

import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { SnapshotDef } from '../model/snapshot.ts';
import { SnapshotTree } from '../model/tree.ts';
import type { SnapshotEntry, SnapshotStore } from './ports.ts';

export class DomainSnapshots {
  readonly tree: SnapshotTree<SnapshotEntry>;
  readonly #store: SnapshotStore;
  #ref: DomainRef;
  #current: string | undefined;

  private constructor(ref: DomainRef, store: SnapshotStore, tree: SnapshotTree<SnapshotEntry>, current?: string) {
    this.#ref = ref;
    this.tree = tree;
    this.#store = store;
    this.#current = current;
  }

  /** Reads the domain's folder. With broken relations libvirt knows no current snapshot, and neither do we. */
  static async load(ref: DomainRef, store: SnapshotStore, log: (text: string) => void): Promise<DomainSnapshots> {
    const { entries, current } = await store.load(ref);
    const { tree, consistent } = SnapshotTree.of(entries);
    if (!consistent) log(`Snapshots have inconsistent relations for domain ${ref.name}`);
    return new DomainSnapshots(ref, store, tree, consistent ? current : undefined);
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

  /**
   * Writes a new or replaced snapshot, as the current one where `current` says so. On disk the new file comes first: a
   * crash in between leaves two that claim to be current, which loads, rather than none.
   */
  async put(snapshot: SnapshotDef, current: boolean): Promise<void> {
    const before = this.#current;
    const isCurrent = current || before === snapshot.name;
    await this.#store.write(this.ref, snapshot, isCurrent);
    this.tree.put(entryOf(snapshot));
    if (!isCurrent || before === snapshot.name) return;
    this.#current = snapshot.name;
    if (before !== undefined) await this.#rewrite(before, unchanged);
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
    this.#current = name;
    if (name !== undefined) await this.#rewrite(name, unchanged);
    if (before !== undefined && this.tree.has(before)) await this.#rewrite(before, unchanged);
  }

  /** Removes a snapshot; its children go to its parent, and so does `current` (virDomainMomentDrop…). */
  async remove(name: string): Promise<void> {
    const entry = this.find(name);
    const parent = this.tree.parentOf(name)?.name;
    for (const child of this.tree.children(name)) await this.#reparent(child.name, parent);
    if (this.#current === name) await this.setCurrent(parent);
    await this.#store.remove(this.ref, entry.name);
    this.tree.remove(name);
  }

  async #reparent(name: string, parent: string | undefined): Promise<void> {
    await this.#rewrite(name, ({ parent: _, ...snapshot }) =>
      parent === undefined ? snapshot : { ...snapshot, parent },
    );
  }

  async #rewrite(name: string, change: (snapshot: SnapshotDef) => SnapshotDef): Promise<void> {
    const snapshot = change(await this.read(name));
    await this.#store.write(this.ref, snapshot, this.#current === name);
    this.tree.put(entryOf(snapshot));
  }
}

function entryOf({ name, parent, state, creationTime, memory, disks }: SnapshotDef): SnapshotEntry {
  return { name, ...(parent !== undefined && { parent }), state, creationTime, memory, disks };
}

const unchanged = (snapshot: SnapshotDef): SnapshotDef => snapshot;
