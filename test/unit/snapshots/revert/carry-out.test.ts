/** The order of a revert: what is asked while the old domain still runs, and what is done afterwards. */

import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { REVERT } from '../../../../src/model/flags.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { revertToSnapshot } from '../../../../src/snapshots/revert/revert.ts';
import { RecordedWorld, RUNNING } from '../../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open({ domain: RUNNING, chain: ['base.o1', 'base'] });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

async function revert(stored: readonly SnapshotDef[], flags = 0): Promise<readonly string[]> {
  const snapshots = await world.snapshots(...stored);
  await revertToSnapshot(world.context, snapshots, 's1', flags);
  return world.steps;
}

const internal = () => world.snapshot('s1', 'base.o1');
const external = () => world.snapshot('s1', 'base', 'base.o1');

const CHECKS = ['phase validate', 'check images', 'check room'];
const MEMORY = ['check files', 'check host', 'check memory of s1', 'checkRestore', 'check memory'];

test('from memory: all is checked, the domain ends, the disks go back, the memory, the definition, what is current', async () => {
  expect(await revert([internal()])).toEqual([
    ...[...CHECKS, 'checkFree', ...MEMORY],
    ...['phase destroy', 'destroy', 'phase disks', 'apply s1', 'phase restore', 'restore memory of s1'],
    ...['phase define', 'define', 'phase metadata', 'write s1 as current', 'end'],
  ]);
});

test('of a snapshot of a domain that was off: it is defined, and booted if that is asked for', async () => {
  const off = world.snapshot('s1', 'base.o1', undefined, { state: 'shutoff', memory: { location: 'no' } });
  const order = [
    ...[
      ...CHECKS,
      'checkFree',
      'check files',
      'check host',
      'check memory',
      'phase destroy',
      'destroy',
      'phase disks',
      'apply s1',
      'phase define',
      'define',
    ],
    ...['phase boot', 'start', 'phase metadata', 'write s1 as current', 'end'],
  ];
  expect(await revert([off], REVERT.RUNNING)).toEqual(order);
});

describe('of an external snapshot', () => {
  test('the new overlay is planned and made while the old domain runs; the old one goes when the new domain runs', async () => {
    expect(await revert([external()])).toEqual([
      ...[...CHECKS, 'checkFree base.TIME', ...MEMORY, 'write s1', 'plan', 'phase overlays', 'create base.TIME'],
      ...['phase destroy', 'destroy', 'phase disks', 'apply s1', 'write s1', 'phase restore', 'restore memory of s1'],
      ...['phase define', 'define', 'remove base.o1', 'phase metadata', 'write s1 as current', 'end'],
    ]);
  });

  test('the new overlay goes again if the domain could not be ended', async () => {
    world.fail('destroy');
    await expect(revert([external()])).rejects.toThrow('no destroy');
    expect(world.steps.slice(-3)).toEqual(['destroy', 'remove base.TIME', 'end']);
  });

  test('an old overlay that cannot be removed is reported when all else is done', async () => {
    world.fail('remove base.o1');
    await expect(revert([external()])).rejects.toThrow(
      "no remove base.o1 (domain 'g' is reverted to snapshot 's1'; overlays with what it had written before are left over)",
    );
    expect(world.steps.slice(-3)).toEqual(['phase metadata', 'write s1 as current', 'end']);
  });

  test('the old overlay stays if another domain uses it', async () => {
    world.others.set('other', 'base.o1');
    expect(await revert([external()])).not.toContain('remove base.o1');
  });
});

describe('refused while the old domain still runs', () => {
  test.each([
    'check images',
    'check room',
    'check files',
    'check host',
    'check memory of s1',
    'checkRestore',
    'check memory',
  ])('for what "%s" finds', async (check) => {
    world.fail(check);
    await expect(revert([internal()])).rejects.toThrow(`no ${check}`);
    expect(world.steps.at(-2)).toBe(check);
  });

  test('an image that a delete has changed in part', async () => {
    const half = { ...internal(), disks: [{ name: 'xvda', location: 'internal', deleteInProgress: true }] } as const;
    await expect(revert([half])).rejects.toThrow('was target of not completed snapshot delete');
    expect(world.steps).toEqual(['end']);
  });

  test('what another snapshot’s delete, which is not complete, has yet to change: how to complete it is said', async () => {
    const { disks, ...other } = world.snapshot('s0', 'base', 'base.o1');
    const half = { ...other, disks: disks.map((disk) => ({ ...disk, deleteInProgress: true as const })) };
    world.fail('checkRestore');
    await expect(revert([half, internal()])).rejects.toThrow(
      "no checkRestore (snapshot 's0' is deleted in part; complete that first: virsh snapshot-delete g s0)",
    );
  });

  test('a snapshot of another domain', async () => {
    const domain = world.definition('base.o1', '22222222-2222-2222-2222-222222222222');
    await expect(revert([{ ...internal(), domain }])).rejects.toThrow("not of domain 'g'");
    expect(world.steps).toEqual(['end']);
  });

  test('an internal snapshot in an image that another domain’s disk is an overlay of', async () => {
    const other = await RecordedWorld.open({ chain: ['base.o1', 'base'], branches: [['theirs', 'base']] });
    await using _other = other;
    other.others.set('other', 'theirs');
    const snapshots = await other.snapshots(other.snapshot('s1', 'base'));
    await writeFile(other.path('theirs'), '');
    await expect(revertToSnapshot(other.context, snapshots, 's1', 0)).rejects.toThrow("domain 'other'");
    expect(other.steps).toEqual(['phase validate', 'end']);
  });
});

test('a memory that could not be restored keeps the old overlay’s removal and the definition, and is reported', async () => {
  world.fail('restore memory of s1');
  await expect(revert([internal()])).rejects.toThrow('the image is kept in memory of s1');
  expect(world.steps.slice(-3)).toEqual(['phase define', 'define', 'end']);
});
