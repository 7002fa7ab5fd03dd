/** What virDomainAbortJob does to a revert and to a delete: up to the point of no return, and from there on. */

import { expect, test } from '@jest/globals';
import type { Domain, DomainRef } from '../../../src/model/domain.ts';
import { DELETE } from '../../../src/model/flags.ts';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';
import type { SnapshotContext } from '../../../src/snapshots/context.ts';
import { deleteSnapshot } from '../../../src/snapshots/delete/delete.ts';
import { DomainSnapshots } from '../../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../../src/snapshots/jobs.ts';
import type { Journal } from '../../../src/snapshots/ports/journal.ts';
import { revertToSnapshot } from '../../../src/snapshots/revert/revert.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { MemoryStore, ProtectedInMemory } from '../../support/fakes/store-in-memory.ts';

const ref: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
const definition = parseDefinition(
  "<domain type='xen'><name>g</name><os><type>linux</type></os><memory>1</memory></domain>",
);

const snapshot = (name: string, parent?: string): SnapshotDef => ({
  name,
  state: 'running',
  creationTime: 1n,
  memory: { location: 'internal' },
  disks: [],
  revertDisks: [],
  domain: definition,
  ...(parent !== undefined && { parent }),
});

/** A running domain with s1 ← s2 ← s3; `steps` has what was done to it, and `on` is called before each step. */
async function scene(on: (step: string, jobs: Jobs) => void) {
  const steps: string[] = [];
  const entry = {
    phase: async (name: string) => step(name),
    plan: async () => {},
    definition: async () => {},
    end: async () => {},
  };
  const journal: Journal = { begin: async () => entry, pending: async () => [], end: async () => {} };
  const jobs = new Jobs(journal);
  const step = (name: string): void => {
    on(name, jobs);
    steps.push(name);
  };
  const domain: Domain = { ref, state: 'running', persistent: true } as Domain;
  const store = new MemoryStore();
  for (const one of [snapshot('s1'), snapshot('s2', 's1'), snapshot('s3', 's2')]) await store.write(ref, one, false);
  const done = (name: string) => async () => step(name);
  const context = {
    host: {
      lookup: async () => domain,
      list: async () => [],
      definition: async () => definition,
      checkRestore: done('checkRestore'),
      checkMemory: async () => {},
      checkParts: async () => {},
      checkDefinition: async () => {},
      checkSetDisks: async () => {},
      destroy: done('destroyed'),
      restore: done('restored'),
      define: done('defined'),
    },
    images: {
      check: done('checked'),
      checkFree: async () => {},
      checkApply: async () => {},
      checkStart: async () => {},
      apply: done('applied'),
      remove: async () => {},
      ...{ checkRebase: async () => {}, checkRemoval: async () => {} },
      ...{ chains: async () => [], fileKey: async (path: string) => path, keysBelow: async () => new Set() },
    },
    events: { emit: () => {} },
    ownFiles: [],
    memory: {
      path: () => '/memory',
      check: async () => {},
      checkRemoval: async () => {},
      remove: async (_: DomainRef, name: string) => step(`removed ${name}`),
    },
    jobs,
    protectedNames: new ProtectedInMemory(),
  } as unknown as SnapshotContext;
  const snapshots = await DomainSnapshots.load(ref, store, () => {});
  return { context, snapshots, steps, left: () => snapshots.tree.all().map(({ name }) => name) };
}

/** Cancels the job at a step. */
const at =
  (wanted: string) =>
  (step: string, jobs: Jobs): void => {
    if (step === wanted) jobs.active(ref.uuid)?.cancel();
  };

test.each(['validate', 'checked', 'checkRestore', 'destroy'])(
  'a revert that is cancelled at "%s" leaves the domain as it was',
  async (when) => {
    const { context, snapshots, steps } = await scene(at(when));
    await expect(revertToSnapshot(context, snapshots, 's1', 0)).rejects.toThrow(
      "operation aborted: job 'snapshot revert' canceled by client (domain 'g' is as it was)",
    );
    expect(steps).not.toContain('destroyed');
    expect(snapshots.current).toBeUndefined();
  },
);

test('a revert whose domain is gone cannot be cancelled, and is carried out', async () => {
  let refusal: unknown;
  const { context, snapshots, steps } = await scene((step, jobs) => {
    try {
      at('destroyed')(step, jobs);
    } catch (error) {
      refusal = error;
    }
  });
  await revertToSnapshot(context, snapshots, 's1', 0);
  expect(refusal).toMatchObject({ code: 'OPERATION_INVALID' });
  expect(steps).toContain('restored');
  expect(snapshots.current?.name).toBe('s1');
});

test('a delete of several that is cancelled keeps whole what it has not come to', async () => {
  const { context, snapshots, steps, left } = await scene(at('removed s3'));
  await expect(deleteSnapshot(context, snapshots, 's1', DELETE.CHILDREN)).rejects.toThrow(
    "operation aborted: job 'snapshot delete' canceled by client " +
      "(1 of 3 snapshots of domain 'g' are deleted; the others are as they were)",
  );
  expect(steps).toEqual(['delete', 'removed s3']);
  expect(left()).toEqual(['s1', 's2']);
});

test('a delete that is cancelled before anything is gone keeps all', async () => {
  const { context, snapshots, left } = await scene(at('delete'));
  await expect(deleteSnapshot(context, snapshots, 's3', 0)).rejects.toMatchObject({
    detail: "job 'snapshot delete' canceled by client",
  });
  expect(left()).toEqual(['s1', 's2', 's3']);
});

test('a delete that has come to the last cannot be cancelled', async () => {
  let refusal: unknown;
  const { context, snapshots, left } = await scene((step, jobs) => {
    try {
      at('removed s2')(step, jobs);
    } catch (error) {
      refusal = error;
    }
  });
  await deleteSnapshot(context, snapshots, 's2', DELETE.CHILDREN);
  expect(refusal).toMatchObject({
    message:
      "Requested operation is not valid: cannot abort job 'snapshot delete' of domain 'g': the delete of 's2' has gone too far",
  });
  expect(left()).toEqual(['s1']);
});
