/** What recovery asks and does, in its order; what it leaves behind is in test/integration/recovery.test.ts. */

import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';
import type { PendingOperation } from '../../../src/snapshots/ports/journal.ts';
import { recover } from '../../../src/snapshots/recovery.ts';
import { MemoryFiles } from '../../../src/store/memory-folder.ts';
import { GUEST, RecordedWorld } from '../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const interrupted = (change: Partial<PendingOperation>): PendingOperation => ({
  ...{ domain: GUEST, operation: 'create', snapshot: 's1', flags: 0, phase: 'saving' },
  ...change,
});

async function open(...pending: readonly PendingOperation[]): Promise<void> {
  world = await RecordedWorld.open({ chain: ['base'], pending });
}

async function recovered(...stored: readonly SnapshotDef[]): Promise<readonly string[]> {
  await world.snapshots(...stored);
  await recover(world.context);
  return world.steps;
}

const planned = () => ({ memory: true, memory_path: 'memory of s1' });

test('the guest runs again once its owner has ended its work; then the create is undone, metadata first', async () => {
  await open(interrupted({ args: planned() }));
  expect(await recovered()).toEqual([
    ...['idle', 'check memory of s1', 'recover saving memory of s1', 'forget s1', 'remove memory of s1', 'end'],
  ]);
  expect(world.log).toEqual([expect.stringContaining('it was undone; the domain is running')]);
});

test('a create that is recorded stands, under its own name', async () => {
  await open(interrupted({ phase: 'metadata', args: planned() }));
  const steps = ['idle', 'check memory of s1', 'recover metadata memory of s1', 'write s1', 'end'];
  expect(await recovered(world.snapshot('s1', 'base'))).toEqual(steps);
});

test('a revert leaves images that the domain or a snapshot still uses, and removes the others', async () => {
  world = await RecordedWorld.open({ chain: ['base'] });
  const images = ['base', 'o1', 'unused'].map((name) => ({ path: world.path(name), format: 'qcow2' }));
  const record = interrupted({ operation: 'revert', phase: 'disks', args: { memory: false }, abandoned: images });
  const { context } = world;
  await world.snapshots(world.snapshot('s1', 'base', 'o1'));
  const journal = { ...context.journal, pending: async () => [record] };
  await recover({ ...context, journal });
  expect(world.steps.filter((step) => step.startsWith('remove'))).toEqual([`remove unused`]);
});

test.each([
  ['disks', 'shutoff', true],
  ['disks', 'running', false],
  ['restore', 'shutoff', false],
] as const)(
  'disks of a revert that was cut off in phase %s of a domain that is %s: put back %p',
  async (phase, state, isUndone) => {
    world = await RecordedWorld.open({ chain: ['base'] });
    world.domain = { ...world.domain, ref: { ...GUEST, id: state === 'running' ? GUEST.id : -1 }, state };
    const { context } = world;
    await world.snapshots(world.snapshot('s1', 'base'));
    const journal = { ...context.journal, pending: async () => [interrupted({ operation: 'revert', phase })] };
    await recover({ ...context, journal });
    expect(world.steps.includes('settle apply s1')).toBe(isUndone);
    expect(world.log[0]?.includes('its disks hold again what they held before')).toBe(isUndone);
  },
);

test.each([
  ['create', 'saving', true],
  ['create', 'saving', false],
  ['revert', 'restore', false],
  ['delete', 'delete', false],
] as const)('a link in the place of the image: the %s in phase %s is left to the next start', async (...record) => {
  const [operation, phase, hasPlan] = record;
  world = await RecordedWorld.open();
  const memory = new MemoryFiles(world.path('memory'));
  const image = memory.path(GUEST, 's1');
  await mkdir(dirname(image), { recursive: true });
  await writeFile(world.path('precious'), 'RAM of another');
  await symlink(world.path('precious'), image);
  const pending = interrupted({ operation, phase, ...(hasPlan && { args: { memory: true, memory_path: image } }) });
  const { context } = world;
  await world.snapshots();
  const journal = { ...context.journal, pending: async () => [pending] };
  await recover({ ...context, memory, journal });
  expect(world.steps).toEqual(['idle']);
  expect(world.log).toEqual([expect.stringContaining(`memory image '${image}' is a link`)]);
});

test('a guest that could not be resumed keeps its record, and does not keep others from being recovered', async () => {
  await open(interrupted({ args: { memory: false } }), interrupted({ phase: 'begun' }));
  world.fail('recover saving');
  expect(await recovered()).toEqual(['idle', 'recover saving', 'idle', 'end']);
  expect(world.log[0]).toContain('no recover saving');
});
