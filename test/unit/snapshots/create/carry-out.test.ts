/** A create that others are in the way of: a guest that cannot be thawed, a domain that is started meanwhile. */

import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { LayerCommit } from '../../../../src/model/disk-image.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import { CREATE } from '../../../../src/model/flags.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { carryOutCreate } from '../../../../src/snapshots/create/carry-out.ts';
import type { CreatePlan } from '../../../../src/snapshots/create/plan.ts';
import type { DomainSnapshots } from '../../../../src/snapshots/domain-snapshots.ts';
import type { OperationJob } from '../../../../src/snapshots/jobs.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

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
    domain: parseDefinition("<domain type='xen'><name>g</name></domain>"),
  },
  args: { memory: false, disks: [disk] },
};

const job: OperationJob = {
  signal: new AbortController().signal,
  phase: async () => {},
  plan: async () => {},
  definition: async () => {},
  progress: () => {},
  commit: () => {},
  paused: () => {},
};

/** Without metadata: nothing is asked of the domain's other snapshots. */
const FLAGS = CREATE.DISK_ONLY | CREATE.NO_METADATA;
const unlisted = {} as DomainSnapshots;

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
  return { steps, log, taken: carryOutCreate(context, unlisted, domain, plan, FLAGS | CREATE.QUIESCE, job) };
}

const STILL_FROZEN =
  "operation failed: no thaw (the file systems of domain 'g' may still be frozen: 'fsfreeze --unfreeze' in the guest thaws them)";

describe('a snapshot with --quiesce', () => {
  test('is taken between freeze and thaw', async () => {
    const { steps, taken } = scene();
    await taken;
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
});

describe('an external snapshot of a domain that is off, and is started meanwhile', () => {
  const off: Domain = { ...domain, ref: { ...domain.ref, id: -1 }, state: 'shutoff' };
  const overlay: LibxlDiskSnapshot = { ...disk, external: true, external_format: 'qcow2', external_path: '/d/a.s1' };
  const definition = (path: string) =>
    parseDefinition(
      `<domain type='xen'><name>g</name><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` +
        `<source file='${path}'/><target dev='xvda'/></disk></devices></domain>`,
    );

  /** `live`: the image that the guest writes to. */
  function started(live: string) {
    const merged: string[] = [];
    const context = {
      host: {
        lookup: async () => domain,
        definition: async (_: Domain, which: string) => definition(which === 'live' ? live : '/d/a.qcow2'),
        setDisks: async () => {},
        commit: async (_: Domain, layers: readonly LayerCommit[]) =>
          void merged.push(...layers.map(({ top }) => top.path)),
        list: async () => [],
      },
      images: {
        create: async () => {},
        fileKey: async (path: string) => path,
        keysBelow: async () => new Set(),
        chains: async () => [],
      },
      memory: { tidy: async () => {}, path: () => '/memory' },
    } as unknown as SnapshotContext;
    const args = { memory: false, disks: [overlay] };
    return { merged, taken: carryOutCreate(context, unlisted, off, { ...plan, args }, FLAGS, job) };
  }

  test('on the image beneath: is refused, and the overlay goes', async () => {
    const { merged, taken } = started('/d/a.qcow2');
    await expect(taken).rejects.toThrow(
      "domain 'g' was started while snapshot 's1' was taken, and writes to image '/d/a.qcow2' of disk 'xvda': take the snapshot again",
    );
    expect(merged).toEqual(['/d/a.s1']);
  });

  test('on the overlay: is taken', async () => {
    const { merged, taken } = started('/d/a.s1');
    await taken;
    expect(merged).toEqual([]);
  });
});

describe('a snapshot whose metadata could not be written, and may be in the folder all the same', () => {
  const afterwards = async (stays: boolean) => {
    const { steps, log, context } = unrecorded(stays);
    const snapshots = { put: () => Promise.reject(new LibvirtError('SYSTEM_ERROR', 'no put')) };
    const listed = snapshots as unknown as DomainSnapshots;
    const taken = carryOutCreate(context, listed, domain, plan, CREATE.DISK_ONLY, job);
    const error = await taken.then(
      () => 'none',
      ({ detail }: LibvirtError) => detail,
    );
    return { steps, log, error };
  };

  function unrecorded(stays: boolean) {
    const steps: string[] = [];
    const log: string[] = [];
    const context = {
      host: {
        lookup: async () => domain,
        save: async () => ({ name: 's1', disks: [disk] }),
        deleteDiskSnapshots: async () => void steps.push('delete'),
        list: async () => [],
        commit: async () => {},
      },
      images: { create: async () => {} },
      memory: { tidy: async () => {}, path: () => '/memory' },
      store: {
        remove: () => Promise.reject(new LibvirtError('SYSTEM_ERROR', 'no removal')),
        read: () => (stays ? Promise.resolve({}) : Promise.reject(new Error('not there'))),
      },
      log: (text: string) => log.push(text),
    } as unknown as SnapshotContext;
    return { steps, log, context };
  }

  test('keeps its data if the metadata cannot be removed: it promises them', async () => {
    const { steps, log, error } = await afterwards(true);
    expect(steps).toEqual([]);
    expect(error).toBe("no put; left over: data of snapshot 's1': no removal");
    expect(log).toEqual([error]);
  });

  test('is undone if no metadata is there', async () => {
    expect(await afterwards(false)).toEqual({ steps: ['delete'], log: [], error: 'no put' });
  });
});
