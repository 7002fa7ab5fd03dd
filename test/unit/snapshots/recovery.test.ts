/** What recovery asks and does, in its order; what it leaves behind is in test/integration/recovery.test.ts. */

import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import type { Domain, DomainRef } from '../../../src/model/domain.ts';
import type { SnapshotContext } from '../../../src/snapshots/context.ts';
import { DomainSnapshots } from '../../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../../src/snapshots/jobs.ts';
import type { Interruption, Journal, PendingOperation } from '../../../src/snapshots/ports.ts';
import { recover } from '../../../src/snapshots/recovery.ts';
import { MemoryFiles } from '../../../src/store/memory-folder.ts';
import { MemoryStore } from '../../support/fakes/store-in-memory.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

const ref: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
const domain: Domain = { ref, state: 'running', persistent: true };

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let memory: MemoryFiles;
let image: string;
let steps: string[];
let log: string[];
/** What a step does besides being recorded. */
let at: Record<string, () => void>;

beforeEach(async () => {
  folder = await scratchFolder();
  memory = new MemoryFiles(join(folder.path, 'memory'));
  image = memory.path(ref, 's1');
  await mkdir(dirname(image), { recursive: true });
  steps = [];
  log = [];
  at = {};
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

const interrupted = (change: Partial<PendingOperation>): PendingOperation => ({
  ...{ domain: ref, operation: 'create', snapshot: 's1', flags: 0, phase: 'saving' },
  ...change,
});

async function recovered(...records: readonly PendingOperation[]): Promise<void> {
  const step = async (name: string): Promise<void> => {
    steps.push(name);
    at[name]?.();
  };
  const entry = { phase: async () => {}, plan: async () => {}, end: async () => {} };
  const journal: Journal = { begin: async () => entry, pending: async () => records, end: () => step('end') };
  const store = new MemoryStore();
  const context = {
    host: {
      idle: () => step('idle'),
      lookup: async () => domain,
      recover: (_: Domain, { phase, memoryPath }: Interruption) => step(`recover ${phase} ${memoryPath === image}`),
      commit: async () => {},
    },
    images: {},
    store,
    memory,
    journal,
    jobs: new Jobs(journal),
    log: (text: string) => log.push(text),
  } as unknown as SnapshotContext;
  await recover(context, () => DomainSnapshots.load(ref, store, () => {}));
}

test('the guest runs again once its owner has ended its work, and the record goes last', async () => {
  await recovered(interrupted({ args: { memory: true, memory_path: image } }));
  expect(steps).toEqual(['idle', 'recover saving true', 'end']);
  expect(log).toEqual([expect.stringContaining('it was taken back; the domain is running')]);
});

test.each([
  ['create', 'saving', true],
  ['create', 'saving', false],
  ['revert', 'restore', false],
  ['delete', 'delete', false],
] as const)('a link in the place of the image: the %s in phase %s is left to the next start', async (...record) => {
  const [operation, phase, planned] = record;
  const precious = join(folder.path, 'precious');
  await writeFile(precious, 'RAM of another');
  await symlink(precious, image);
  const args = planned ? { args: { memory: true, memory_path: image } } : {};
  await recovered(interrupted({ operation, phase, ...args }));
  expect(steps).toEqual(['idle']);
  expect(log).toEqual([expect.stringContaining(`memory image '${image}' is a link`)]);
});

test('a guest that could not be resumed keeps its record, and does not keep others from being recovered', async () => {
  at['recover saving false'] = () => {
    throw new LibvirtError('OPERATION_FAILED', "domain 'g' is left suspended");
  };
  await recovered(interrupted({ args: { memory: false } }), interrupted({ phase: 'begun' }));
  expect(steps).toEqual(['idle', 'recover saving false', 'idle', 'end']);
  expect(log[0]).toContain("domain 'g' is left suspended");
});
