import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { NEED_KINDS, needsOf } from '../../../../src/snapshots/revert/needs.ts';
import type { RevertPlan } from '../../../../src/snapshots/revert/plan.ts';
import { RecordedWorld } from '../../../support/fakes/recorded-world.ts';

test('docs/semantics.md lists what a revert needs, in the order in which it is asked', () => {
  const text = readFileSync(new URL('../../../../docs/semantics.md', import.meta.url), 'utf8');
  const [, table = ''] = text.split('| needed | what is asked |\n|---|---|\n');
  const rows = [...table.slice(0, table.indexOf('\n\n')).matchAll(/^\| ([^|]+) \|/gm)].map(([, kind]) => kind);
  expect(rows).toEqual(NEED_KINDS);
});

test('a revert from memory needs everything, one that leaves the guest off neither its files nor its memory', async () => {
  await using world = await RecordedWorld.open();
  const snapshot = world.snapshot('s1', 'base');
  const definition = world.definition('base');
  const disks = { images: new Map(), overlays: [], snapshot, abandoned: [] };
  const plan = { snapshot, disks, others: [], internal: [], open: new Set(), definition, persistent: definition };
  const kinds = (target: object) => needsOf({ ...plan, target } as unknown as RevertPlan).map(({ kind }) => kind);
  expect(kinds({ kind: 'restore', memoryPath: '/m', paused: false })).toEqual(NEED_KINDS);
  expect(kinds({ kind: 'off' })).toEqual([
    'descriptors',
    'captured disks',
    'room',
    'new overlays',
    'old overlays',
    'definitions',
    'backing chains',
  ]);
});
