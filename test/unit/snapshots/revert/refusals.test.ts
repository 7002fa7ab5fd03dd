/** Reverts that are refused by the domain's state and the snapshot's document: the guest runs on. */

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Domain } from '../../../../src/model/domain.ts';
import { REVERT } from '../../../../src/model/flags.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { revertToSnapshot } from '../../../../src/snapshots/revert/revert.ts';
import { OFF, RecordedWorld, RUNNING } from '../../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open({ chain: ['base'] });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const SHUTOFF = { state: 'shutoff', memory: { location: 'no' } } as const;
const TRANSIENT: Domain = { ...RUNNING, persistent: false };
const MANAGED: Domain = { ...OFF, managedSave: true };

async function revert(domain: Domain, more: Partial<SnapshotDef>, flags = 0): Promise<void> {
  const { domain: definition, ...rest } = world.snapshot('s1', 'base');
  const snapshots = await world.snapshots({ ...rest, ...(definition && { domain: definition }), ...more });
  world.domain = domain;
  await revertToSnapshot(world.context, snapshots, 's1', flags);
}

test.each<[string, Domain, Partial<SnapshotDef>, string]>([
  ['a transient domain would be gone', TRANSIENT, SHUTOFF, 'transient domain needs to request run or pause'],
  ['memory that libvirtd has saved would meet other disks', MANAGED, SHUTOFF, 'managed saved state'],
])('%s', async (_, domain, more, message) => {
  await expect(revert(domain, more)).rejects.toThrow(message);
  expect(world.steps).not.toContain('destroy');
  expect(world.steps).not.toContain('apply s1');
});

test('they are carried out if the caller says what should become of the domain', async () => {
  await revert(TRANSIENT, SHUTOFF, REVERT.RUNNING);
  expect(world.steps).toContain('start');
  await revert(MANAGED, SHUTOFF, REVERT.FORCE);
  expect(world.steps).toContain('apply s1');
});

test('a snapshot without a definition', async () => {
  const { domain: _, ...bare } = world.snapshot('s1', 'base');
  const snapshots = await world.snapshots(bare);
  await expect(revertToSnapshot(world.context, snapshots, 's1', 0)).rejects.toThrow(
    "snapshot 's1' lacks domain 'g' rollback info",
  );
  expect(world.steps).not.toContain('destroy');
});
