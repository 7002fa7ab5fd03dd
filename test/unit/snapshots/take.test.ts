/** A snapshot that is taken while the guest's file systems are frozen. */

import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import type { Domain } from '../../../src/model/domain.ts';
import { CREATE } from '../../../src/model/flags.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import type { SnapshotContext } from '../../../src/snapshots/context.ts';
import type { OperationJob } from '../../../src/snapshots/jobs.ts';
import { type CreatePlan, take } from '../../../src/snapshots/take.ts';

const domain: Domain = {
  ref: { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 },
  state: 'running',
  persistent: true,
};

const disk: LibxlDiskSnapshot = { disk: { vdev: 'xvda', pdev_path: '/d/a.qcow2', format: 'qcow2' }, name: 's1' };

const plan: CreatePlan = {
  snapshot: {
    name: 's1',
    state: 'disk-snapshot',
    creationTime: 1n,
    memory: { location: 'no' },
    disks: [{ name: 'xvda', location: 'internal' }],
    revertDisks: [],
  },
  args: { memory: false, disks: [disk] },
  memoryKib: 4096,
};

const job: OperationJob = {
  signal: new AbortController().signal,
  phase: async () => {},
  plan: async () => {},
  progress: () => {},
  commit: () => {},
  paused: () => {},
};

/** What is done to the guest, in order; the steps named in `failing` fail. */
function scene(...failing: readonly string[]) {
  const steps: string[] = [];
  const log: string[] = [];
  const step = async (name: string): Promise<void> => {
    steps.push(name);
    if (failing.includes(name)) throw new LibvirtError('OPERATION_FAILED', `no ${name}`);
  };
  const context = {
    host: {
      lookup: async () => domain,
      checkSave: async () => {},
      freeze: async () => {
        await step('freeze');
        return { [Symbol.asyncDispose]: () => step('thaw') };
      },
      save: async () => {
        await step('save');
        return { name: 's1', disks: [disk] };
      },
      deleteDiskSnapshots: () => step('delete'),
      commit: async () => {},
    },
    images: { create: async () => {} },
    memory: { tidy: async () => {}, path: () => '/memory' },
    log: (text: string) => log.push(text),
  } as unknown as SnapshotContext;
  return { steps, log, taken: take(context, domain, plan, CREATE.DISK_ONLY | CREATE.QUIESCE, job) };
}

const STILL_FROZEN =
  "operation failed: no thaw (the file systems of domain 'g' may still be frozen: 'fsfreeze --unfreeze' in the guest thaws them)";

test('is taken between freeze and thaw', async () => {
  const { steps, taken } = scene();
  await expect(taken).resolves.toMatchObject({ name: 's1' });
  expect(steps).toEqual(['freeze', 'save', 'thaw']);
});

test('is taken back where the guest cannot be thawed, and the error says that', async () => {
  const { steps, taken } = scene('thaw');
  await expect(taken).rejects.toThrow(STILL_FROZEN);
  expect(steps).toEqual(['freeze', 'save', 'thaw', 'delete']);
});

test('that fails is told with its own error, and a thaw that fails then with the log', async () => {
  const { log, taken } = scene('save', 'thaw');
  await expect(taken).rejects.toThrow('operation failed: no save');
  expect(log).toEqual([STILL_FROZEN]);
});
