/** What a delete refuses, takes away and leaves to others, in its order. */

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { doneInPart, LibvirtError } from '../../../../src/errors.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import { DELETE } from '../../../../src/model/flags.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { deleteSnapshot } from '../../../../src/snapshots/delete/delete.ts';
import { DELETE_NEEDS } from '../../../../src/snapshots/delete/rules.ts';
import { OFF, RecordedWorld, RUNNING } from '../../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

async function scene(domain: Domain): Promise<void> {
  world = await RecordedWorld.open({ domain, chain: ['o2', 'o1', 'base'] });
}

beforeEach(() => scene(RUNNING));

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

async function remove(name: string, stored: readonly SnapshotDef[], flags = 0): Promise<readonly string[]> {
  const snapshots = await world.snapshots(...stored);
  await deleteSnapshot(world.context, snapshots, name, flags);
  return world.steps;
}

const layered = () => [world.snapshot('s1', 'base', 'o1'), world.snapshot('s2', 'o1', 'o2', { parent: 's1' })];

describe.each([
  ['running', RUNNING],
  ['off', OFF],
])('a domain that is %s: a merge', (state, domain) => {
  beforeEach(async () => {
    await world[Symbol.asyncDispose]();
    await scene(domain);
  });

  test('comes before the definitions, these before the snapshots above, then the layer goes, and the metadata last', async () => {
    expect(await remove('s2', layered())).toEqual([
      ...['check removal of memory of s2', 'phase delete', 'write s2, marked', 'commit o2 into o1', 'phase merged'],
      ...(state === 'running' ? ['set live o1'] : []),
      ...['set persistent o1', 'phase moved', 'remove o2', 'phase delete', 'remove memory of s2', 'forget s2', 'end'],
    ]);
  });

  test('ties the memory of a snapshot whose state was the merged overlay to the base, before it names the base', async () => {
    expect(await remove('s1', layered())).toEqual([
      ...['check removal of memory of s1', 'phase delete', 'write s1, marked', 'commit o1 into base', 'phase merged'],
      ...['check memory of s2', 'retie memory of s2 s2 base', 'write s2', 'phase moved', 'remove o1', 'phase delete'],
      ...['remove memory of s1', 'write s2', 'forget s1', 'end'],
    ]);
    expect(await world.stateOf('s2')).toBe('base');
  });

  test('ties the memory of an internal snapshot in the image above, whose header has changed', async () => {
    const steps = await remove('s1', [world.snapshot('s1', 'base', 'o1'), world.snapshot('s2', 'o2')]);
    expect(steps).toContain('retie memory of s2 s2 o2');
  });
});

test('several go from the last child up, each with its data before its metadata', async () => {
  const stored = [
    world.snapshot('s1', 'o2'),
    world.snapshot('s2', 'o2', undefined, { parent: 's1' }),
    world.snapshot('s3', 'o2', undefined, { parent: 's2' }),
  ];
  const steps = await remove('s1', stored, DELETE.CHILDREN);
  const gone = steps.filter((step) => /^(delete|remove|forget) /.test(step));
  expect(gone).toEqual(
    ['s3', 's2', 's1'].flatMap((name) => [`delete ${name} by QEMU`, `remove memory of ${name}`, `forget ${name}`]),
  );
});

test('external memory that a clone of the snapshot names stays for it, and goes with the last of the two', async () => {
  const external = (name: string, file: string) =>
    world.snapshot(name, 'o2', undefined, { memory: { location: 'external', file }, disks: [] });
  const snapshots = await world.snapshots(external('s1', '/m/1'), external('clone', '/m/1'), external('s2', '/m/2'));
  for (const name of ['s1', 's2', 'clone']) await deleteSnapshot(world.context, snapshots, name, 0);
  expect(world.steps.filter((step) => step.startsWith('remove'))).toEqual(['remove /m/2', 'remove /m/1']);
});

test('an internal snapshot in the image below goes with the overlay that the guest runs on, which is merged first', async () => {
  const stored = [world.snapshot('s1', 'o1'), world.snapshot('s2', 'o1', 'o2', { parent: 's1' })];
  const steps = await remove('s1', stored, DELETE.CHILDREN);
  expect(steps.filter((step) => /^(check deletes|commit|delete|forget) /.test(step))).toEqual([
    ...['check deletes s1 in o1', 'commit o2 into o1', 'forget s2', 'delete s1 by QEMU', 'forget s1'],
  ]);
});

test('docs/semantics.md lists what a delete needs, in the order in which it is asked', () => {
  const text = readFileSync(new URL('../../../../docs/semantics.md', import.meta.url), 'utf8');
  const [, table = ''] = text.split('| needed for a delete | what is asked |\n|---|---|\n');
  const rows = [...table.slice(0, table.indexOf('\n\n')).matchAll(/^\| ([^|]+) \|/gm)].map(([, kind]) => kind);
  expect(rows).toEqual(Object.keys(DELETE_NEEDS));
});

describe('what a failure leaves is named, with the command that deletes the rest:', () => {
  const two = () => [world.snapshot('s1', 'o2'), world.snapshot('s2', 'o2', undefined, { parent: 's1' })];

  test('of one snapshot nothing', async () => {
    world.fail('delete s2 by QEMU');
    await expect(remove('s2', two())).rejects.toMatchObject({ detail: 'no delete s2 by QEMU' });
  });

  test('of one snapshot, some of its disks', async () => {
    world.at.set('delete s2 by QEMU', () => {
      throw doneInPart(new LibvirtError('OPERATION_FAILED', 'no disk'), "it is deleted from disk 'xvda' already");
    });
    await expect(remove('s2', two())).rejects.toMatchObject({
      detail:
        "no disk (it is deleted from disk 'xvda' already) " +
        "(snapshot 's2' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s2)",
    });
  });

  test('of one snapshot all but its memory', async () => {
    world.fail('remove memory of s2');
    await expect(remove('s2', two())).rejects.toMatchObject({
      detail:
        "no remove memory of s2 (snapshot 's2' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s2)",
    });
  });

  test('of several snapshots some', async () => {
    world.fail('delete s1 by QEMU');
    await expect(remove('s1', two(), DELETE.CHILDREN)).rejects.toMatchObject({
      detail: "no delete s1 by QEMU (1 of 2 snapshots of domain 'g' are deleted; the others are as they were)",
    });
  });

  test('of several snapshots some, and of one a part', async () => {
    world.fail('remove memory of s1');
    await expect(remove('s1', two(), DELETE.CHILDREN)).rejects.toMatchObject({
      detail:
        "no remove memory of s1 (1 of 2 snapshots of domain 'g' are deleted; " +
        "snapshot 's1' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s1 --children)",
    });
  });

  test('of the overlays those that are merged, also if their merge has changed no image', async () => {
    world.fail('remove o2');
    await expect(remove('s2', layered())).rejects.toMatchObject({
      detail:
        "no remove o2 (merged already: disk 'xvda') " +
        "(snapshot 's2' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s2)",
    });
    expect(world.steps.filter((step) => step.startsWith('write'))).toEqual(['write s2, marked']);
  });
});

describe('refused before anything is touched', () => {
  test('several of which one is not in the image that the guest runs on', async () => {
    const stored = [world.snapshot('s1', 'o1'), world.snapshot('s2', 'o2', undefined, { parent: 's1' })];
    await expect(remove('s1', stored, DELETE.CHILDREN)).rejects.toThrow(
      `o1' for internal snapshot 's1' is not the same as disk image currently used by VM`,
    );
    expect(world.steps).toEqual(['end']);
  });

  test.each([
    ['an internal snapshot that cannot be deleted', 'check deletes s1 in o2', [] as readonly string[]],
    ['a memory image that cannot be removed', 'check removal of memory of s1', ['check deletes s1 in o2']],
  ])('%s', async (_, step, before) => {
    world.fail(step);
    await expect(remove('s1', [world.snapshot('s1', 'o2')])).rejects.toThrow(`no ${step}`);
    expect(world.steps).toEqual([...before, step, 'end']);
  });

  test('a merge of images that another domain uses', async () => {
    world.others.set('other', 'o1');
    await expect(remove('s1', layered())).rejects.toThrow("is also used by domain 'other'");
    expect(world.steps).toEqual(['end']);
  });

  test('a merge while memory that libvirtd has saved waits for the images of then', async () => {
    world.domain = { ...OFF, managedSave: true };
    await expect(remove('s1', layered())).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
    expect(world.steps).toEqual(['end']);
  });

  test('a snapshot of another domain; its metadata alone can go', async () => {
    const domain = world.definition('base', '22222222-2222-2222-2222-222222222222');
    const foreign = world.snapshot('s1', 'base', undefined, { domain });
    await expect(remove('s1', [foreign])).rejects.toThrow("not of domain 'g'");
    expect(world.steps).toEqual(['end']);
    expect(await remove('s1', [foreign], DELETE.METADATA_ONLY)).toEqual(['phase delete', 'forget s1', 'end']);
  });
});
