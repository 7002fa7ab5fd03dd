/** What a redefinition may not change is refused in libvirt's words, before anything is written. */

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { CREATE } from '../../../src/model/flags.ts';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';
import { redefineSnapshot } from '../../../src/snapshots/redefine.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { writeElement } from '../../../src/xml/engine/write.ts';
import { writeSnapshot } from '../../../src/xml/snapshot/write.ts';
import { GUEST, RecordedWorld } from '../../support/fakes/recorded-world.ts';
import { refusal } from '../../support/refusal.ts';

const OTHER_UUID = '22222222-2222-2222-2222-222222222222';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open();
});

afterEach(() => world[Symbol.asyncDispose]());

const run = (change: Partial<SnapshotDef> = {}) => world.snapshot('run', 'base', undefined, change);
const off = (change: Partial<SnapshotDef> = {}) =>
  world.snapshot('off', 'base', undefined, { state: 'shutoff', memory: { location: 'no' }, ...change });
const withoutDomain = ({ domain: _, ...snapshot }: SnapshotDef): SnapshotDef => snapshot;
const changed = (from: string, to: string) =>
  parseDefinition(writeElement(world.definition('base').element).replace(from, to));

/** Snapshot `run`, which runs, its child `next`, and `off`, which is off, are there already. */
async function redefine(snapshot: SnapshotDef, flags = 0): Promise<string> {
  const next = world.snapshot('next', 'base', undefined, { parent: 'run' });
  const snapshots = await world.snapshots(run(), next, off());
  const xml = writeSnapshot(snapshot, { secure: true, uuid: GUEST.uuid });
  return await redefineSnapshot(world.context, snapshots, xml, flags);
}

const written = () => world.steps.filter((step) => step.startsWith('write'));

test.each<[string, () => SnapshotDef, string, number?]>([
  ['itself as its parent', () => run({ parent: 'run' }), 'cannot set moment run as its own parent'],
  ['a parent that is not there', () => run({ parent: 'lost' }), 'parent lost for moment run not found'],
  ['its own child as its parent', () => run({ parent: 'next' }), 'parent next would create cycle to run'],
  [
    'memory, but the flag of one that has none',
    () => run(),
    'disk-only flag for snapshot run requires disk-snapshot state',
    CREATE.DISK_ONLY,
  ],
  [
    'the definition of another domain',
    () => run({ domain: world.definition('base', OTHER_UUID) }),
    `definition for snapshot run must use uuid ${GUEST.uuid}`,
  ],
  [
    'a guest that is off in place of one that runs',
    () => run({ state: 'shutoff', memory: { location: 'no' } }),
    'cannot change between online and offline snapshot state in snapshot run',
  ],
  [
    'a guest that runs in place of one that is off',
    () => off({ state: 'paused', memory: { location: 'internal' } }),
    'cannot change between online and offline snapshot state in snapshot off',
  ],
  [
    'disks alone in place of a guest that is off',
    () => off({ state: 'disk-snapshot' }),
    'cannot change between disk only and full system in snapshot off',
  ],
])('a snapshot is not redefined with %s', async (_what, snapshot, words, flags = 0) => {
  const { code, detail } = await refusal(redefine(snapshot(), flags));
  expect([code, detail]).toEqual(['INVALID_ARG', words]);
  expect(written()).toEqual([]);
});

test('a snapshot is not redefined with a definition that its guest would notice', async () => {
  const { code } = await refusal(redefine(run({ domain: changed('4096', '8192') })));
  expect(code).toBe('CONFIG_UNSUPPORTED');
  expect(written()).toEqual([]);
});

test('a snapshot is not defined without a definition, which a redefined one keeps', async () => {
  const fresh = await refusal(redefine(withoutDomain(run({ name: 'fresh' }))));
  expect([fresh.code, fresh.detail]).toEqual(['INTERNAL_ERROR', 'missing domain in snapshot']);
  expect(written()).toEqual([]);
  expect(await redefine(withoutDomain(run({ description: 'said later' })))).toBe('run');
  expect(await world.stateOf('run')).toBe('base');
  expect(await world.store.read(GUEST, 'run')).toMatchObject({ description: 'said later' });
});

test('a name that no file can have is refused: it would lead out of the folder', async () => {
  expect(await refusal(redefine(run({ name: '../run' })))).toMatchObject({ code: 'XML_DETAIL' });
  expect(written()).toEqual([]);
});
