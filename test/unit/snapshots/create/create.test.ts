/** The order of a create: what is asked first, what is recorded before it is made, and what undoes it. */

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CREATE } from '../../../../src/model/flags.ts';
import { createSnapshot } from '../../../../src/snapshots/create/create.ts';
import { OFF, RecordedWorld } from '../../../support/fakes/recorded-world.ts';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open({ chain: ['base'] });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const DISKS = () =>
  `<disks><disk name='xvda' snapshot='external'><source file='${world.path('base.s1')}'/></disk></disks>`;

async function create(inside = '', flags = 0): Promise<readonly string[]> {
  const snapshots = await world.snapshots();
  await createSnapshot(world.context, snapshots, `<domainsnapshot><name>s1</name>${inside}</domainsnapshot>`, flags);
  return world.steps;
}

const REFUSALS = ['checkFree', 'check files', 'check host', 'checkSave', 'prepare memory of s1'];

test('of a running domain: all that can refuse is asked, the plan is recorded, it is saved, the metadata is last', async () => {
  expect(await create()).toEqual([
    ...[...REFUSALS, 'plan', 'phase disks', 'create', 'save s1', 'phase metadata', 'write s1 as current', 'end'],
  ]);
});

test('of a domain that is off: its images alone, under the plan', async () => {
  world.domain = OFF;
  const steps = ['checkFree', 'checkFree base', 'plan', 'phase disks', 'create base'];
  expect(await create()).toEqual([...steps, 'phase metadata', 'write s1 as current', 'end']);
});

test('with an overlay: the persistent definition follows before the moment, the live one after it', async () => {
  expect(await create(DISKS(), CREATE.DISK_ONLY)).toEqual([
    ...['checkFree base.s1', 'check files', 'checkSave', 'plan', 'phase disks', 'create base.s1'],
    ...['set persistent base.s1'],
    ...['save s1', 'phase metadata', 'set live base.s1', 'write s1 as current', 'end'],
  ]);
});

describe('nothing is left', () => {
  test.each(REFUSALS)('of one that %s refuses: nothing was planned', async (check) => {
    world.fail(check);
    await expect(create()).rejects.toThrow(`no ${check}`);
    expect(world.steps).not.toContain('plan');
  });

  test.each(['plan', 'phase disks', 'create', 'save s1'])('of one that fails at "%s"', async (step) => {
    world.fail(step);
    await expect(create()).rejects.toThrow(`no ${step}`);
    expect(world.steps).toContain('tidy');
    expect(world.steps).not.toContain('write s1 as current');
  });

  test.each(['phase metadata', 'write s1 as current'])('of one whose "%s" fails: metadata first', async (step) => {
    world.fail(step);
    await expect(create()).rejects.toThrow(`no ${step}`);
    const undone = ['forget s1', 'delete s1 by QEMU', 'remove memory of s1', 'end'];
    expect(world.steps.slice(-undone.length)).toEqual(undone);
  });

  test('of an overlay that was made: it is merged back, and the definition follows', async () => {
    world.fail('save s1');
    await expect(create(DISKS(), CREATE.DISK_ONLY)).rejects.toThrow('no save s1');
    expect(world.steps.slice(-4)).toEqual([
      ...['commit base.s1 into base', 'set persistent base', 'remove base.s1', 'end'],
    ]);
  });
});

test('refused while memory that libvirtd has saved waits for the images of then', async () => {
  world.domain = { ...OFF, managedSave: true };
  await expect(create(DISKS(), CREATE.DISK_ONLY)).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
  expect(world.steps).toEqual(['end']);
});
