import { stat } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { checkDomainSnapshotSave, domainSnapshotSave } from '../../../src/libxl/save.ts';
import { checkLibxlStream, readMemoryImage } from '../../../src/memory/image-file.ts';
import type { LibxlDomainSnapshotArgs } from '../../../src/model/libxl.ts';
import { snapshotsIn } from '../../support/disks/images.ts';
import { disk } from '../../support/hosts/embedded.ts';
import { STREAM } from '../../support/libxl/fake-xen.ts';
import { guest, quiet, XML } from '../../support/libxl/guest.ts';

/** Nothing is left: the guest runs, no file, no disk snapshot, no helper. */
async function expectUntouched({ xen, files, images }: Awaited<ReturnType<typeof guest>>): Promise<void> {
  expect(xen.runs).toBe(true);
  expect(await files()).toEqual([]);
  for (const image of images) expect(await snapshotsIn(image)).toEqual([]);
  expect(xen.openHelpers).toBe(0);
}

describe('a save', () => {
  test('suspends, pauses, resumes, takes the disks and unpauses, each phase announced before it starts', async () => {
    await using vm = await guest();
    const { calls } = vm.xen;
    const seen: unknown[] = [];
    await vm.save({ phase: async (name) => void seen.push([name, calls.length, await snapshotsIn(vm.images[1])]) });
    expect(calls).toEqual(['suspend', 'pause', 'resume', 'unpause']);
    expect(seen).toEqual([
      ['saving', 0, []],
      ['suspended', 1, []],
      ['paused', 3, []],
      ['disks-done', 3, ['s1']],
    ]);
    expect(vm.xen.runs).toBe(true);
    expect(vm.xen.openHelpers).toBe(0);
  });

  test('results in an image with the definition in front, snapshots in all disks, and a config without a domid', async () => {
    await using vm = await guest();
    const before = Math.floor(Date.now() / 1000);
    const result = await vm.save();
    const image = await readMemoryImage(vm.memory_path);
    await checkLibxlStream(image);
    expect(image.domainXml).toBe(XML);
    expect(image.bytes - image.streamOffset).toBe(STREAM.length);
    for (const path of vm.images) expect(await snapshotsIn(path)).toEqual(['s1']);
    expect(result).toMatchObject({ name: 's1', memory: true, memory_path: vm.memory_path, memory_bytes: image.bytes });
    expect(result.disks).toEqual([
      { ...disk('xvda', vm.images[0]), path: vm.images[0], node: 'xvda-qcow2' },
      { ...disk('xvdb', vm.images[1]), path: vm.images[1], node: 'xvdb-qcow2' },
    ]);
    expect(result.config).toMatchObject({ c_info: { name: 'vm', type: 'pvh' }, b_info: {} });
    expect(result.config?.c_info).not.toHaveProperty('domid');
    expect(result.creation_time).toBeGreaterThanOrEqual(before);
    expect(Object.keys(result.timings ?? {})).toEqual(['suspend_ms', 'disks_ms', 'resume_ms']);
  });

  test('reports its progress in bytes of the image, the last report being its size', async () => {
    await using vm = await guest();
    const reports: { done: number; total: number }[] = [];
    const { memory_bytes } = await vm.save({ progress: (report) => reports.push(report) });
    expect(reports.at(-1)).toEqual({ done: memory_bytes, total: memory_bytes });
    for (const { done, total } of reports.slice(0, -1)) expect(done).toBeLessThan(total);
    expect(reports.length).toBeGreaterThan(1);
  });

  test('of disks alone stops no guest and writes no file; a paused guest is fine', async () => {
    await using vm = await guest();
    vm.xen.guest = { ...vm.xen.guest, paused: true };
    const phases: string[] = [];
    const { memory_path: _, ...args } = vm.args;
    const options = { ...quiet(), phase: async (name: string) => void phases.push(name) };
    const result = await domainSnapshotSave(vm.xen.domid, 's1', { ...args, memory: false }, options, vm.xen);
    expect(phases).toEqual(['disks']);
    expect(vm.xen.calls).toEqual([]);
    expect(await vm.files()).toEqual([]);
    for (const image of vm.images) expect(await snapshotsIn(image)).toEqual(['s1']);
    expect(result).not.toHaveProperty('memory');
  });
});

describe('a failure leaves nothing', () => {
  test.each([
    ['suspend', "Failed to save domain '5' with libxenlight: libxl: error: no ack"],
    ['pause', 'pause failed'],
    ['resume', 'resume failed'],
    ['unpause', 'unpause failed'],
  ] as const)('when %s fails', async (call, message) => {
    await using vm = await guest();
    vm.xen.fail(call, message);
    await expect(vm.save()).rejects.toMatchObject({ code: 'INTERNAL_ERROR', detail: message });
    await expectUntouched(vm);
  });

  test('when the stream fails with the guest already suspended (no space left)', async () => {
    await using vm = await guest();
    vm.xen.instead.set('suspend', () => {
      vm.xen.suspended();
      throw new LibvirtError('INTERNAL_ERROR', 'No space left on device');
    });
    await expect(vm.save()).rejects.toThrow('No space left on device');
    expect(vm.xen.calls).toEqual(['suspend', 'release']);
    await expectUntouched(vm);
  });

  test.each(['saving', 'suspended', 'paused', 'disks-done'])('when phase %s cannot be recorded', async (failing) => {
    await using vm = await guest();
    const phase = async (name: string) => {
      if (name === failing) throw new LibvirtError('SYSTEM_ERROR', 'journal: No space left on device');
    };
    await expect(vm.save({ phase })).rejects.toMatchObject({ detail: 'journal: No space left on device' });
    await expectUntouched(vm);
  });

  test.each(['saving', 'suspended', 'paused'])('when the client cancels in phase %s', async (at) => {
    await using vm = await guest();
    const abort = new AbortController();
    const phase = async (name: string) => void (name === at && abort.abort());
    const error = await vm.save({ phase, signal: abort.signal }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPERATION_ABORTED', message: 'operation aborted: cancelled by client' });
    await expectUntouched(vm);
  });

  test('a cancellation after the disks have been taken comes too late: the snapshot is whole', async () => {
    await using vm = await guest();
    const abort = new AbortController();
    const phase = async (name: string) => void (name === 'disks-done' && abort.abort());
    await expect(vm.save({ phase, signal: abort.signal })).resolves.toMatchObject({ memory: true });
    expect(await vm.files()).toEqual(['s1.save']);
  });

  test('when the device model dies while the guest is stopped', async () => {
    await using vm = await guest();
    const phase = async (name: string) => void (name === 'paused' && (await vm.daemon[Symbol.asyncDispose]()));
    await expect(vm.save({ phase })).rejects.toThrow('cannot talk to the device model');
    await expectUntouched(vm);
  });

  test('when the helper dies: a fresh one releases the guest', async () => {
    await using vm = await guest();
    vm.xen.fail('pause', 'the libxl helper process ended (SIGSEGV)');
    const { xen } = vm;
    xen.instead.set('release', (helper) => {
      if (helper === 1) throw new LibvirtError('INTERNAL_ERROR', 'the libxl helper process ended (SIGSEGV)');
      xen.guest = { ...xen.guest, shutdown: false, paused: false };
    });
    await expect(vm.save()).rejects.toMatchObject({ detail: 'the libxl helper process ended (SIGSEGV)' });
    expect(xen.calls).toEqual(['suspend', 'pause', 'release', 'release']);
    await expectUntouched(vm);
  });

  test('when the folder of the image is not there', async () => {
    await using vm = await guest();
    const save = vm.save({}, { memory_path: '/nonexistent/s1.save' });
    await expect(save).rejects.toThrow("Failed to create domain save file '/nonexistent/s1.save'");
    expect(vm.xen.calls).toEqual([]);
    await expectUntouched(vm);
  });
});

describe('what cannot be taken back is in the message, with the command that repairs it', () => {
  test('a guest that stays suspended', async () => {
    await using vm = await guest();
    vm.xen.fail('resume', 'resume failed');
    vm.xen.instead.set('release', () => {});
    const text =
      "resume failed; left over: domain '5' is left suspended: 'xl resume 5' (Xen 4.20 or newer) continues it";
    await expect(vm.save()).rejects.toMatchObject({ code: 'INTERNAL_ERROR', detail: text });
    expect(await vm.files()).toEqual([]);
  });

  test('a guest that stays paused', async () => {
    await using vm = await guest();
    vm.xen.fail('unpause', 'unpause failed');
    vm.xen.instead.set('release', () => {});
    await expect(vm.save()).rejects.toThrow("domain '5' is left paused: 'xl unpause 5' continues it");
  });

  test('snapshots that the device model cannot delete any more', async () => {
    await using vm = await guest();
    const phase = async (name: string) => {
      if (name !== 'disks-done') return;
      await vm.daemon[Symbol.asyncDispose]();
      throw new LibvirtError('SYSTEM_ERROR', 'journal failed');
    };
    const error = (await vm.save({ phase }).catch((reason: unknown) => reason)) as Error;
    expect(error.message).toMatch(
      /^journal failed; left over: internal snapshot 's1' of disk 'xvda', disk 'xvdb': cannot talk to/,
    );
    expect(vm.xen.runs).toBe(true);
    expect(await vm.files()).toEqual([]);
  });
});

describe('refused before anything is touched', () => {
  const paused = { paused: true, running: false };
  test.each([
    [
      'a paused guest',
      paused,
      {},
      'OPERATION_INVALID',
      "Domain '5' has to be running because libxenlight will suspend",
    ],
    ['a dying one', { dying: true }, {}, 'OPERATION_INVALID', "Domain '5' cannot be snapshotted: it is dying"],
    ['one shut down', { shutdown: true, shutdown_reason: 'crash' }, {}, 'OPERATION_INVALID', 'it is shut down (crash)'],
    ['a live save of PV', { domain_type: 'pv' }, { live: true }, 'OPERATION_UNSUPPORTED', 'needs shadow paging'],
    ['memory without a path', {}, { memory_path: undefined }, 'INVALID_ARG', 'needs a memory_path'],
    ['a raw disk', {}, { disks: [disk('xvdb', '/b', 'raw')] }, 'CONFIG_UNSUPPORTED', 'disk xvdb unsupported'],
    [
      'a phy disk',
      {},
      { disks: [{ disk: { vdev: 'xvdc', format: 'qcow2', backend: 'phy' } }] },
      'CONFIG_UNSUPPORTED',
      'xvdc',
    ],
    ['an external disk', {}, { disks: [{ ...disk('xvdd', '/d'), external: true }] }, 'CONFIG_UNSUPPORTED', "'xvdd'"],
  ])('%s', async (_, state, change, code, text) => {
    await using vm = await guest();
    vm.xen.shadow = false;
    vm.xen.guest = { ...vm.xen.guest, ...(state as object) };
    const before = vm.xen.guest;
    const args = { ...vm.args, ...change } as LibxlDomainSnapshotArgs;
    for (const attempt of [
      () => domainSnapshotSave(vm.xen.domid, 's1', args, quiet(), vm.xen),
      () => checkDomainSnapshotSave(vm.xen.domid, args, vm.xen),
    ]) {
      const error = await attempt().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code });
      expect((error as Error).message).toContain(text);
    }
    expect(vm.xen.calls).toEqual([]);
    expect(vm.xen.guest).toBe(before);
    expect(await vm.files()).toEqual([]);
    expect(vm.xen.openHelpers).toBe(0);
  });

  test('Domain-0, without even being looked at', async () => {
    await using vm = await guest();
    const save = domainSnapshotSave(0, 's1', vm.args, quiet(), vm.xen);
    await expect(save).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
    expect(vm.xen.calls).toEqual([]);
  });

  test('a domid that is nobody’s', async () => {
    await using vm = await guest();
    const save = domainSnapshotSave(77, 's1', vm.args, quiet(), vm.xen);
    await expect(save).rejects.toThrow("Domain not found: no domain with matching id '77'");
  });

  test('a name that one of the disks has already, whose snapshot stays', async () => {
    await using vm = await guest();
    await vm.save({}, { disks: [disk('xvdb', vm.images[1])] });
    const { mtimeMs } = await stat(vm.memory_path);
    vm.xen.calls.length = 0;
    await expect(vm.save()).rejects.toMatchObject({ code: 'OPERATION_FAILED' });
    expect(vm.xen.calls).toEqual([]);
    expect(await snapshotsIn(vm.images[0])).toEqual([]);
    expect(await snapshotsIn(vm.images[1])).toEqual(['s1']);
    expect((await stat(vm.memory_path)).mtimeMs).toBe(mtimeMs);
  });
});
