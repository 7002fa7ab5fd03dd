/** What of a create cannot be undone keeps nothing else of it. */

import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { LayerCommit } from '../../../../src/model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { undoCreate } from '../../../../src/snapshots/create/undo.ts';
import { OFF, RUNNING } from '../../../support/fakes/recorded-world.ts';

const internal = (vdev: string): LibxlDiskSnapshot => ({ disk: { vdev, pdev_path: `/d/${vdev}` }, name: 's1' });
const external = (vdev: string): LibxlDiskSnapshot => ({
  disk: { vdev, pdev_path: `/d/${vdev}`, format: 'qcow2' },
  name: 's1',
  ...{ external: true, external_format: 'qcow2', external_path: `/d/${vdev}.s1` },
});
const job = { signal: new AbortController().signal, progress: () => {} };

/** `broken`: the disks at which each step fails. */
function scene(...broken: readonly string[]) {
  const steps: string[] = [];
  const step = async (what: string, disks: readonly string[]): Promise<void> => {
    steps.push(`${what} ${disks}`);
    const disk = disks.find((each) => broken.includes(each));
    if (disk !== undefined) throw new LibvirtError('OPERATION_FAILED', `no ${what} of ${disk}`);
  };
  const vdevs = (disks: readonly LibxlDiskSnapshot[]) => disks.map(({ disk }) => disk.vdev);
  const merge = (layers: readonly LayerCommit[]) =>
    step(
      'merge',
      layers.map(({ disk }) => disk),
    );
  const context = {
    host: {
      list: async () => [],
      definition: async () => ({ images: new Map() }),
      deleteDiskSnapshots: (_: unknown, __: string, disks: readonly LibxlDiskSnapshot[]) =>
        step('delete', vdevs(disks)),
      commit: (_: unknown, layers: readonly LayerCommit[]) => merge(layers),
    },
    images: {
      delete: (_: string, disks: readonly LibxlDiskSnapshot[]) => step('delete', vdevs(disks)),
      commit: merge,
      fileKey: async (path: string) => path,
      keysBelow: async () => new Set(),
      chains: async () => [],
    },
    memory: { path: () => '/m/s1', remove: () => step('remove', ['memory']) },
  } as unknown as SnapshotContext;
  return { steps, context };
}

test.each([
  ['running', RUNNING],
  ['off', OFF],
])('of a domain that is %s, several disks go at once', async (_, domain) => {
  const { steps, context } = scene();
  const disks = [internal('xvda'), internal('xvdb')];
  await undoCreate(context, domain, 's1', { memory_path: '/m/s1', disks }, job);
  expect(steps).toEqual(['delete xvda,xvdb', 'remove memory']);
});

test.each([
  ['running', RUNNING],
  ['off', OFF],
])(
  'of a domain that is %s, the first disk fails: the others and the memory go, and both failures are named',
  async (_, domain) => {
    const { steps, context } = scene('xvda', 'memory');
    const disks = [internal('xvda'), internal('xvdb')];
    await expect(undoCreate(context, domain, 's1', { memory_path: '/m/s1', disks }, job)).rejects.toMatchObject({
      detail: 'no delete of xvda; no remove of memory',
    });
    expect(steps).toEqual(['delete xvda,xvdb', 'delete xvda', 'delete xvdb', 'remove memory']);
  },
);

test('the first of two overlays cannot be merged: the other one is', async () => {
  const { steps, context } = scene('xvda');
  const disks = [external('xvda'), external('xvdb')];
  await expect(undoCreate(context, RUNNING, 's1', { memory: false, disks }, job)).rejects.toMatchObject({
    detail: 'no merge of xvda',
  });
  expect(steps).toEqual(['merge xvda,xvdb', 'merge xvda', 'merge xvdb']);
});
