import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { doneInPart } from '../../../../src/errors.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { whileMarked } from '../../../../src/snapshots/delete/in-progress-mark.ts';
import type { DomainSnapshots } from '../../../../src/snapshots/domain-snapshots.ts';

let folder: string;
let base: string;
/** Which disks bore the mark, at each write. */
let written: string[][];

const snapshots = {
  put: async ({ disks }: SnapshotDef) => {
    written.push(disks.flatMap(({ name, deleteInProgress }) => (deleteInProgress ? [name] : [])));
  },
} as unknown as DomainSnapshots;

const snapshot: SnapshotDef = {
  name: 's1',
  state: 'shutoff',
  creationTime: 0n,
  memory: { location: 'no' },
  disks: [
    { name: 'xvda', location: 'external' },
    { name: 'xvdb', location: 'no' },
  ],
  revertDisks: [],
};

const marked = (merge: () => Promise<void>) => {
  const layer = {
    disk: 'xvda',
    top: { path: join(folder, 'top'), format: 'qcow2' },
    base: { path: base, format: 'qcow2' },
  };
  const plan = { own: [layer], others: [], rebased: [], unused: [] };
  return whileMarked(snapshots, snapshot, plan, merge);
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xlsnap-'));
  base = join(folder, 'base');
  await writeFile(base, 'as it was');
  written = [];
});

afterEach(() => rm(folder, { recursive: true }));

test('the disks that are merged bear the mark meanwhile', async () => {
  await marked(async () => expect(written).toEqual([['xvda']]));
  expect(written).toEqual([['xvda']]);
});

test('a merge that failed before it changed the image leaves no mark', async () => {
  const merge = marked(() => Promise.reject(new Error('refused')));
  await expect(merge).rejects.toThrow('refused');
  expect(written).toEqual([['xvda'], []]);
});

test('a merge that failed when the image had changed leaves the mark, and says so', async () => {
  const merge = marked(async () => {
    await writeFile(base, 'later');
    throw new Error('disk full');
  });
  await expect(merge).rejects.toMatchObject({ detail: 'disk full', reason: 'done-in-part' });
  expect(written).toEqual([['xvda']]);
});

test('a merge that says itself that a part is done leaves the mark, though an empty overlay has changed no image', async () => {
  const merge = marked(() => Promise.reject(doneInPart(new Error('disk full'))));
  await expect(merge).rejects.toMatchObject({ reason: 'done-in-part' });
  expect(written).toEqual([['xvda']]);
});
