import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { domainSnapshotRecover } from '../../../src/libxl/recover.ts';
import { checkDomainSnapshotSave } from '../../../src/libxl/save.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { overlay } from '../../support/disks/device-model.ts';
import { fakeVolumes, phy } from '../../support/disks/fake-volumes.ts';
import { snapshotsIn } from '../../support/disks/images.ts';
import { imagesInUse } from '../../support/disks/images-in-use.ts';
import { hasPattern, nbdUri, writePattern } from '../../support/hosts/embedded.ts';
import { guest } from '../../support/libxl/guest.ts';

type Guest = Awaited<ReturnType<typeof guest>>;

/** xvda gets an overlay, xvdb an internal snapshot. */
function mixed({ disks, folder }: Guest): readonly LibxlDiskSnapshot[] {
  const [xvda, xvdb] = disks as [LibxlDiskSnapshot, LibxlDiskSnapshot];
  return [overlay(xvda, join(folder, 'a.ov')), xvdb];
}

/** As before: no overlay, no internal snapshot, the guest runs on its first images. */
async function expectUntouched(vm: Guest): Promise<void> {
  expect(await readdir(vm.folder)).not.toContain('a.ov');
  expect(await vm.files()).toEqual([]);
  for (const image of vm.images) expect(await snapshotsIn(image)).toEqual([]);
  const disks = vm.disks.map(({ disk }) => disk);
  const inUse = await imagesInUse(vm.daemon.qmpSocket, disks);
  expect([...inUse.values()].map(({ path }) => path)).toEqual([...vm.images]);
  expect(vm.xen.runs).toBe(true);
}

describe('memory with disks of both kinds', () => {
  test('results in overlay and internal snapshot of one moment; the overlay is there before the guest stops', async () => {
    await using vm = await guest();
    const seen: unknown[] = [];
    const phase = async (name: string) => void seen.push([name, (await readdir(vm.folder)).includes('a.ov')]);
    const result = await vm.save({ phase }, { disks: mixed(vm) });
    expect(seen).toEqual([
      ['saving', true],
      ['suspended', true],
      ['paused', true],
      ['disks-done', true],
    ]);
    expect(result.disks).toMatchObject([
      { path: join(vm.folder, 'a.ov'), backing: vm.images[0], node: 'xvda-snap1' },
      { path: vm.images[1], node: 'xvdb-qcow2' },
    ]);
    expect(await snapshotsIn(vm.images[1])).toEqual(['s1']);
    expect(vm.xen.runs).toBe(true);
  });

  test.each(['saving', 'suspended', 'paused', 'disks-done'])('leaves nothing when phase %s fails', async (failing) => {
    await using vm = await guest();
    const phase = async (name: string) => {
      if (name === failing) throw new LibvirtError('SYSTEM_ERROR', 'journal failed');
    };
    await expect(vm.save({ phase }, { disks: mixed(vm) })).rejects.toMatchObject({ detail: 'journal failed' });
    await expectUntouched(vm);
  });

  test('leaves nothing when the guest cannot be unpaused; what its disks were given meanwhile is kept', async () => {
    await using vm = await guest();
    const live = nbdUri(vm.daemon.nbdSocket, 'xvda');
    vm.xen.instead.set('unpause', async () => {
      await writePattern(live, 'raw', 0x44);
      throw new LibvirtError('INTERNAL_ERROR', 'unpause failed');
    });
    await expect(vm.save({}, { disks: mixed(vm) })).rejects.toMatchObject({ detail: 'unpause failed' });
    await expectUntouched(vm);
    expect(await hasPattern(live, 'raw', 0x44)).toBe(true);
  });

  test('a volume of LVM is taken while the guest stands', async () => {
    await using vm = await guest();
    await using lvm = await fakeVolumes({ 'vg/lv': { contents: '1', pool: 'pool0' } });
    const disks = [...mixed(vm), phy('xvdc', '/dev/vg/lv')];
    const phases: unknown[] = [];
    const phase = async (name: string) => void phases.push([name, (await lvm.log()).length]);
    const result = await vm.save({ phase }, { disks });
    expect(phases.slice(-2)).toEqual([
      ['paused', 0],
      ['disks-done', 1],
    ]);
    expect(result.disks?.[2]).toEqual({ ...phy('xvdc', '/dev/vg/lv'), path: '/dev/vg/lv' });
  });

  test('a volume’s snapshot goes again when the transaction fails after it', async () => {
    await using vm = await guest();
    await using lvm = await fakeVolumes({ 'vg/lv': { contents: '1', pool: 'pool0' } });
    const phase = async (name: string) => void (name === 'paused' && (await vm.daemon[Symbol.asyncDispose]()));
    await expect(vm.save({ phase }, { disks: [...mixed(vm), phy('xvdc', '/dev/vg/lv')] })).rejects.toThrow(
      'cannot talk to the device model',
    );
    expect(Object.keys(await lvm.volumes())).toEqual(['vg/lv']);
    expect(await readdir(vm.folder)).not.toContain('a.ov');
  });
});

describe('disks alone', () => {
  test('of the device model are one transaction: nothing is suspended or paused', async () => {
    await using vm = await guest();
    const phases: string[] = [];
    const { memory_path: _, ...args } = vm.args;
    const result = await vm.save(
      { phase: async (name) => void phases.push(name) },
      { ...args, memory: false, disks: mixed(vm) },
    );
    expect(phases).toEqual(['disks']);
    expect(vm.xen.calls).toEqual([]);
    expect(result).toMatchObject({ disks: [{ path: join(vm.folder, 'a.ov') }, { path: vm.images[1] }] });
    expect(result.timings).toHaveProperty('disks_ms');
  });

  test('on several storages pause the guest meanwhile', async () => {
    await using vm = await guest();
    await using lvm = await fakeVolumes({ 'vg/lv': { contents: '1', pool: 'pool0' } });
    const phases: string[] = [];
    const disks = [...mixed(vm), phy('xvdc', '/dev/vg/lv')];
    await vm.save({ phase: async (name) => void phases.push(name) }, { memory: false, disks });
    expect(phases).toEqual(['disks', 'paused']);
    expect(vm.xen.calls).toEqual(['pause', 'unpause']);
    expect(vm.xen.runs).toBe(true);
    expect(await lvm.contents('vg/lv.xlsnap.s1')).toBe('1');
  });

  test.each([
    ['one volume of LVM', ['/dev/vg/lv'], []],
    ['two volumes of LVM', ['/dev/vg/lv', '/dev/vg/two'], ['pause', 'unpause']],
    ['volumes of LVM and ZFS', ['/dev/vg/lv', '/dev/zvol/pool/vm'], ['pause', 'unpause']],
    ['two volumes of ZFS', ['/dev/zvol/pool/vm', '/dev/zvol/pool/two'], ['pause', 'unpause']],
  ])('on %s: the guest is paused if one command cannot take them all', async (_what, paths, calls) => {
    await using vm = await guest();
    await using volumes = await fakeVolumes({
      'vg/lv': { contents: '1', pool: 'pool0' },
      'vg/two': { contents: '2', pool: 'pool0' },
      'pool/vm': { contents: '3' },
      'pool/two': { contents: '4' },
    });
    const disks = paths.map((path, index) => phy(`xvd${index}`, path));
    await vm.save({}, { memory: false, disks });
    expect(vm.xen.calls).toEqual(calls);
    expect(await volumes.log()).not.toEqual([]);
  });

  test('do not unpause a guest that was paused before, nor does a failure', async () => {
    await using vm = await guest();
    vm.xen.guest = { ...vm.xen.guest, paused: true };
    await using lvm = await fakeVolumes({ 'vg/lv': { contents: '1', pool: 'pool0' } });
    await vm.save({}, { memory: false, disks: [...mixed(vm), phy('xvdc', '/dev/vg/lv')] });
    await lvm.fail('lvcreate 1');
    const again = vm.save({}, { memory: false, disks: [phy('xvdc', '/dev/vg/lv')] });
    await expect(again).rejects.toThrow("already has a snapshot volume 'vg/lv.xlsnap.s1'");
    expect(vm.xen.calls).toEqual([]);
    expect(vm.xen.guest).toMatchObject({ paused: true });
  });

  test.each(['pause', 'unpause'] as const)('leave nothing when %s fails', async (call) => {
    await using vm = await guest();
    await using lvm = await fakeVolumes({ 'vg/lv': { contents: '1', pool: 'pool0' } });
    vm.xen.fail(call, `${call} failed`);
    const save = vm.save({}, { memory: false, disks: [...mixed(vm), phy('xvdc', '/dev/vg/lv')] });
    await expect(save).rejects.toMatchObject({ detail: `${call} failed` });
    await expectUntouched(vm);
    expect(Object.keys(await lvm.volumes())).toEqual(['vg/lv']);
  });
});

describe('after a crash', () => {
  test.each([
    ['saving', true],
    ['disks', true],
    ['suspended', false],
    ['paused', false],
    ['disks-done', false],
  ])('in phase %s a paused guest is the user’s: %s', async (phase, stays) => {
    await using vm = await guest();
    vm.xen.guest = { ...vm.xen.guest, paused: true };
    await domainSnapshotRecover(vm.xen.domid, phase, vm.xen);
    expect(vm.xen.guest?.paused).toBe(stays);
  });
});

test('the check refuses what is in the way of an overlay, and touches nothing', async () => {
  await using vm = await guest();
  await mkdir(join(vm.folder, 'a.ov'));
  const check = checkDomainSnapshotSave(vm.xen.domid, { ...vm.args, disks: mixed(vm) }, vm.xen);
  await expect(check).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
  await rm(join(vm.folder, 'a.ov'), { recursive: true });
  await checkDomainSnapshotSave(vm.xen.domid, { ...vm.args, disks: mixed(vm) }, vm.xen);
  await expectUntouched(vm);
});
