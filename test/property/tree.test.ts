/** Any sequence of redefinitions and deletions against the plainest model of libvirt's rules: a table of parents. */

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isLibvirtError } from '../../src/errors.ts';
import type { DomainRef } from '../../src/model/domain.ts';
import { CREATE, DELETE, LIST } from '../../src/model/flags.ts';
import type { SnapshotContext } from '../../src/snapshots/context.ts';
import { deleteSnapshot } from '../../src/snapshots/delete/delete.ts';
import { DomainSnapshots } from '../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../src/snapshots/jobs.ts';
import { listOfDomain, listOfSnapshot } from '../../src/snapshots/list.ts';
import type { Journal } from '../../src/snapshots/ports/journal.ts';
import { redefineSnapshot } from '../../src/snapshots/redefine.ts';
import { MemoryStore, ProtectedInMemory } from '../support/fakes/store-in-memory.ts';

const REF: DomainRef = { name: 'd', uuid: '11111111-2222-3333-4444-777777777777', id: -1 };
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

type Step =
  | { readonly do: 'redefine'; readonly name: string; readonly parent: string | undefined; readonly current: boolean }
  | { readonly do: 'delete'; readonly name: string; readonly which: 'one' | 'children' | 'children only' };

const name = fc.constantFrom(...NAMES);
const steps = fc.array(
  fc.oneof(
    fc.record<Step & { do: 'redefine' }>({
      do: fc.constant('redefine'),
      name,
      parent: fc.option(name, { nil: undefined }),
      current: fc.boolean(),
    }),
    fc.record<Step & { do: 'delete' }>({
      do: fc.constant('delete'),
      name,
      which: fc.constantFrom('one', 'children', 'children only'),
    }),
  ),
  { maxLength: 40 },
);

/** libvirt's rules as one would say them. */
class Naive {
  readonly parents = new Map<string, string | undefined>();
  current: string | undefined;

  /** False where libvirt refuses. */
  apply(step: Step): boolean {
    return step.do === 'redefine' ? this.#redefine(step) : this.#delete(step);
  }

  childrenOf(of: string | undefined): readonly string[] {
    return [...this.parents].filter(([, parent]) => parent === of).map(([name]) => name);
  }

  beneath(of: string): readonly string[] {
    return this.childrenOf(of).flatMap((child) => [child, ...this.beneath(child)]);
  }

  #redefine({ name, parent, current }: Step & { do: 'redefine' }): boolean {
    if (parent !== undefined && !this.parents.has(parent)) return false;
    if (parent === name || (parent !== undefined && this.beneath(name).includes(parent))) return false;
    this.parents.set(name, parent);
    if (current) this.current = name;
    return true;
  }

  #delete({ name, which }: Step & { do: 'delete' }): boolean {
    if (!this.parents.has(name)) return false;
    const parent = this.parents.get(name);
    const beneath = which === 'one' ? [] : this.beneath(name);
    if (this.current !== undefined && beneath.includes(this.current)) this.current = name;
    for (const each of beneath) this.parents.delete(each);
    if (which === 'children only') return true;
    for (const child of this.childrenOf(name)) this.parents.set(child, parent);
    this.parents.delete(name);
    if (this.current === name) this.current = parent;
    return true;
  }
}

const journal: Journal = {
  begin: async () => ({ phase: async () => {}, plan: async () => {}, definition: async () => {}, end: async () => {} }),
  pending: async () => [],
  end: async () => {},
};

const context = {
  jobs: new Jobs(journal),
  protectedNames: new ProtectedInMemory(),
  host: { lookup: async () => ({ ref: REF, state: 'shutoff', persistent: true }) },
} as unknown as SnapshotContext;

const document = ({ name, parent }: Step & { do: 'redefine' }): string =>
  `<domainsnapshot><name>${name}</name><state>shutoff</state><creationTime>1</creationTime>
   ${parent === undefined ? '' : `<parent><name>${parent}</name></parent>`}
   <domain type='xen'><name>d</name><uuid>${REF.uuid}</uuid><memory>1</memory><os><type>hvm</type></os></domain></domainsnapshot>`;

const WHICH = {
  one: 0,
  children: DELETE.CHILDREN,
  'children only': DELETE.CHILDREN_ONLY,
} as const;

/** False where a LibvirtError refuses; anything else thrown is a bug. */
async function apply(snapshots: DomainSnapshots, step: Step): Promise<boolean> {
  try {
    if (step.do === 'redefine') {
      await redefineSnapshot(context, snapshots, document(step), step.current ? CREATE.CURRENT | CREATE.REDEFINE : 1);
    } else {
      await deleteSnapshot(context, snapshots, step.name, WHICH[step.which] | DELETE.METADATA_ONLY);
    }
    return true;
  } catch (error) {
    if (isLibvirtError(error, 'INVALID_ARG', 'NO_DOMAIN_SNAPSHOT')) return false;
    throw error;
  }
}

function expectSame(snapshots: DomainSnapshots, naive: Naive): void {
  const names = (list: readonly { readonly name: string }[]): readonly string[] => list.map(({ name }) => name).sort();
  expect(names(listOfDomain(snapshots, 0))).toEqual([...naive.parents.keys()].sort());
  expect(names(listOfDomain(snapshots, LIST.ROOTS))).toEqual([...naive.childrenOf(undefined)].sort());
  expect(snapshots.current?.name).toBe(naive.current);
  for (const [name, parent] of naive.parents) {
    expect(snapshots.find(name).parent).toBe(parent);
    expect(names(listOfSnapshot(snapshots, name, 0))).toEqual([...naive.childrenOf(name)].sort());
    expect(names(listOfSnapshot(snapshots, name, LIST.DESCENDANTS))).toEqual([...naive.beneath(name)].sort());
  }
  const leaves = [...naive.parents.keys()].filter((name) => naive.childrenOf(name).length === 0);
  expect(names(listOfDomain(snapshots, LIST.LEAVES))).toEqual(leaves.sort());
  const order = listOfDomain(snapshots, LIST.TOPOLOGICAL).map(({ name }) => name);
  expect([...order].sort()).toEqual([...naive.parents.keys()].sort());
  for (const [name, parent] of naive.parents) {
    if (parent !== undefined) expect(order.indexOf(parent)).toBeLessThan(order.indexOf(name));
  }
}

test('the tree, the lists and the current snapshot are libvirt’s after every step, and after a restart', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const store = new MemoryStore();
      const logged: string[] = [];
      const load = () => DomainSnapshots.load(REF, store, (line) => logged.push(line));
      const snapshots = await load();
      const naive = new Naive();
      for (const step of sequence) {
        expect([step, await apply(snapshots, step)]).toEqual([step, naive.apply(step)]);
        expectSame(snapshots, naive);
        expect(store.claimants).toEqual(naive.current === undefined ? [] : [naive.current]);
      }
      expectSame(await load(), naive);
      expect(logged).toEqual([]);
    }),
    { numRuns: 150 },
  );
});
