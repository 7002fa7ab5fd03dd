/** Block jobs whose guest has ended, with xlsnapd or without it: what is visible in the images is completed. */

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { BlockJob } from '../../../../src/model/blocks/block-job.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import { settleJob } from '../../../../src/snapshots/block-jobs/after-end.ts';
import { GUEST, OFF, RecordedWorld, RUNNING } from '../../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open({ chain: ['b1', 'base'], domain: OFF });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const image = (name: string) => ({ path: world.path(name), format: 'qcow2' });

const activeCommit = (more: object = {}): BlockJob => ({
  ...{ kind: 'active-commit', disk: 'xvda', pivot: true, remove: true },
  layer: { disk: 'xvda', top: image('b1'), base: image('base') },
  ...more,
});

async function settled(job: BlockJob, now: Domain = OFF) {
  world.steps.length = 0;
  return [await settleJob(world.context, GUEST, now, job), ...world.steps];
}

test('a pivot whose overlay is emptied is completed: the definition names the base, and the overlay goes if asked', async () => {
  world.emptied.add('b1');
  expect(await settled(activeCommit())).toEqual(['completed', 'set persistent base', 'remove b1']);
});

test('the overlay stays if that was asked, or if another domain uses it', async () => {
  world.emptied.add('b1');
  expect(await settled(activeCommit({ remove: false }))).toEqual(['completed', 'set persistent base']);
  world.others.set('other', 'b1');
  expect(await settled(activeCommit())).toEqual(['completed']);
});

test('a pivot whose definition names the base already is completed', async () => {
  await using onBase = await RecordedWorld.open({ chain: ['base'], domain: OFF });
  const layer = {
    disk: 'xvda',
    top: { path: onBase.path('b1'), format: 'qcow2' },
    base: { path: onBase.path('base'), format: 'qcow2' },
  };
  expect(await settleJob(onBase.context, GUEST, OFF, activeCommit({ layer }))).toBe('completed');
  expect(onBase.steps).toEqual(['remove b1']);
});

test('a job without a pivot is given up: the guest was on its overlay to the end', async () => {
  const { pivot: _pivot, ...ready } = activeCommit() as BlockJob & { readonly kind: 'active-commit' };
  expect(await settled(ready)).toEqual(['given up']);
  const pull: BlockJob = { kind: 'pull', disk: 'xvda', active: image('b1'), between: [] };
  expect(await settled(pull)).toEqual(['given up']);
});

test('a pivot that may have been done is refused, with what decides it and both ways out', async () => {
  const [b1, base] = [world.path('b1'), world.path('base')];
  await expect(settled(activeCommit())).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail:
      `domain 'g' has ended while its disk 'xvda' was pivoted from '${b1}' to '${base}', and nothing shows which of them it has ` +
      `written to last: ls -l --full-time ${b1} ${base}. Before it starts, if that is '${base}': qemu-img create -f qcow2 -b ${base} ` +
      `-F qcow2 ${b1}; else: qemu-img commit ${b1}`,
  });
  const copy: BlockJob = {
    ...{ kind: 'copy', disk: 'xvda', source: image('b1'), target: image('copy'), left: [], reuse: false },
    ...{ discard: 'ignore', synchronous: false, pivot: true },
  };
  await expect(settled(copy)).rejects.toMatchObject({ detail: expect.stringMatching(/copy': virsh edit g$/) });
  expect(world.steps).toEqual([]);
});

test('a guest that runs again keeps the overlay that it is on; of one that is gone only an emptied overlay is removed', async () => {
  const again = { ...RUNNING, ref: { ...GUEST, id: 9 } };
  expect(await settled(activeCommit(), again)).toEqual(['given up']);
  world.emptied.add('b1');
  expect(await settled(activeCommit(), again)).toEqual(['completed']);
  const { context } = world;
  const without = { ...context, host: { ...context.host, list: async () => [] } };
  expect(await settleJob(without, GUEST, undefined, activeCommit())).toBe('completed');
  expect(world.steps).toEqual(['remove b1']);
  world.emptied.clear();
  expect(await settleJob(without, GUEST, undefined, activeCommit())).toBe('given up');
});

test('a commit in the middle is completed if the image above is on the base', async () => {
  const layer = { disk: 'xvda', top: image('b1'), base: image('base'), above: image('b2') };
  const job: BlockJob = { kind: 'commit', disk: 'xvda', remove: true, layer };
  await using merged = await RecordedWorld.open({ chain: ['b2', 'base'], domain: OFF });
  const at = (name: string) => ({ path: merged.path(name), format: 'qcow2' });
  const done = { ...job, layer: { disk: 'xvda', top: at('b1'), base: at('base'), above: at('b2') } };
  expect(await settleJob(merged.context, GUEST, OFF, done)).toBe('completed');
  expect(merged.steps).toEqual(['remove b1']);
  expect(await settled(job)).toEqual(['given up']);
});
