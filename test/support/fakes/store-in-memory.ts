/** A SnapshotStore, and ProtectedNames, in memory: the store forgets nothing that was written and everything that was not. */

import { LibvirtError } from '../../../src/errors.ts';
import type { DomainRef } from '../../../src/model/domain.ts';
import { entryOf, type SnapshotDef } from '../../../src/model/snapshot.ts';
import type { ProtectedNames, SnapshotStore, StoredSnapshots } from '../../../src/snapshots/ports/store.ts';
import { writeSnapshot } from '../../../src/xml/snapshot/write.ts';

export class MemoryStore implements SnapshotStore {
  readonly #files = new Map<string, { readonly snapshot: SnapshotDef; readonly current: boolean }>();

  check(): void {}

  async adopt(): Promise<void> {}

  async load(): Promise<StoredSnapshots> {
    const stored = [...this.#files.values()];
    const current = stored.find((file) => file.current)?.snapshot.name;
    return { entries: stored.map(({ snapshot }) => entryOf(snapshot)), ...(current !== undefined && { current }) };
  }

  async read(_domain: DomainRef, name: string): Promise<SnapshotDef> {
    const file = this.#files.get(name);
    if (!file) throw new LibvirtError('INTERNAL_ERROR', `nothing is stored of '${name}'`);
    return file.snapshot;
  }

  async describe(domain: DomainRef, name: string, secure: boolean): Promise<string> {
    return writeSnapshot(await this.read(domain, name), { secure, uuid: domain.uuid });
  }

  async write(_domain: DomainRef, snapshot: SnapshotDef, current: boolean): Promise<void> {
    this.#files.set(snapshot.name, { snapshot, current });
  }

  async remove(_domain: DomainRef, name: string): Promise<void> {
    this.#files.delete(name);
  }

  async rename(): Promise<void> {}

  /** Those that claim to be the current one. */
  get claimants(): readonly string[] {
    return [...this.#files.values()].filter(({ current }) => current).map(({ snapshot }) => snapshot.name);
  }
}

export class ProtectedInMemory implements ProtectedNames {
  readonly #names = new Map<string, ReadonlySet<string>>();

  of({ uuid }: DomainRef): ReadonlySet<string> {
    return this.#names.get(uuid) ?? new Set();
  }

  async set({ uuid }: DomainRef, names: ReadonlySet<string>): Promise<void> {
    this.#names.set(uuid, names);
  }
}
