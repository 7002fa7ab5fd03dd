import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { Domain, DomainRef } from '../../../../src/model/domain.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { DomainSnapshots } from '../../../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../../../src/snapshots/jobs.ts';
import type { Journal } from '../../../../src/snapshots/ports/journal.ts';
import { revertToSnapshot } from '../../../../src/snapshots/revert/revert.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';
import { MemoryStore } from '../../../support/fakes/store-in-memory.ts';

const ref: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
const domain: Domain = { ref, state: 'running', persistent: true };
const definition = parseDefinition(
  "<domain type='xen'><name>g</name><os><type>linux</type></os><memory>1</memory></domain>",
);

test('a domain whose end is not known is told of with its disks, which are not touched', async () => {
  const lost = 'connection to libvirtd was lost during virDomainDestroy; whether that was carried out is not known';
  const entry = { phase: async () => {}, plan: async () => {}, definition: async () => {}, end: async () => {} };
  const journal: Journal = { begin: async () => entry, pending: async () => [], end: async () => {} };
  const store = new MemoryStore();
  const none = { memory: { location: 'no' }, disks: [], revertDisks: [] } as const;
  await store.write(ref, { name: 's1', state: 'shutoff', creationTime: 1n, domain: definition, ...none }, false);
  const applied: string[] = [];
  const context = {
    host: {
      lookup: async () => domain,
      definition: async () => definition,
      checkDefinition: async () => {},
      destroy: async () => {
        throw new LibvirtError('RPC', lost);
      },
    },
    images: {
      check: async () => {},
      checkFree: async () => {},
      checkApply: async () => {},
      checkStart: async () => {},
      checkRemoval: async () => {},
      apply: async (name: string) => applied.push(name),
      remove: async () => {},
      chains: async () => [],
    },
    memory: {},
    jobs: new Jobs(journal),
  } as unknown as SnapshotContext;
  const snapshots = await DomainSnapshots.load(ref, store, () => {});
  await expect(revertToSnapshot(context, snapshots, 's1', 0)).rejects.toThrow(
    `${lost} (domain 'g' may be shut off by now; its disks are as they were)`,
  );
  expect(applied).toEqual([]);
});
