import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { domainSnapshotRestore } from '../../../src/libxl/restore.ts';
import { domainSnapshotSave } from '../../../src/libxl/save.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';
import { FakeXen, UUID } from '../../support/libxl/fake-xen.ts';

const { signal } = new AbortController();

/** A snapshot of memory alone, and the host that it was taken on: its guest still runs. */
async function saved() {
  const folder = await scratchFolder();
  const xen = new FakeXen();
  const args = { memory_path: join(folder.path, 's1.save') };
  const snapshot = await domainSnapshotSave(xen.domid, 's1', args, { domainXml: '<domain/>' }, xen);
  xen.calls.length = 0;
  return { xen, snapshot, ...args, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

test('the domain is made from the snapshot’s config, and runs', async () => {
  await using vm = await saved();
  vm.xen.guest = null;
  expect(await domainSnapshotRestore(vm.snapshot, {}, vm.xen)).toBe(5);
  expect(vm.xen.calls).toEqual(['createRestore', 'unpause']);
  expect(vm.xen.config).toEqual(vm.snapshot.config);
  expect(vm.xen.runs).toBe(true);
  expect(vm.xen.openHelpers).toBe(0);
});

test('on request it stays paused', async () => {
  await using vm = await saved();
  vm.xen.guest = null;
  await domainSnapshotRestore(vm.snapshot, { signal, paused: true }, vm.xen);
  expect(vm.xen.calls).toEqual(['createRestore']);
  expect(vm.xen.guest).toMatchObject({ paused: true });
});

describe('a domain that exists is never replaced', () => {
  test.each([
    ['name', { uuid: '00000000-0000-0000-0000-000000000001' }],
    ['UUID', { name: 'another' }],
    ['name, and no UUID is known', { uuid: undefined }],
  ])('of the same %s', async (_, other) => {
    await using vm = await saved();
    const c_info = { ...(vm.snapshot.config?.c_info as object), ...other };
    const snapshot = { ...vm.snapshot, config: { ...vm.snapshot.config, c_info } };
    const error = await domainSnapshotRestore(snapshot, { signal }, vm.xen).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'DOM_EXIST', message: `domain 'vm' (domid 5, UUID ${UUID}) exists already` });
    expect(vm.xen.calls).toEqual([]);
    expect(vm.xen.runs).toBe(true);
  });
});

test('a restore that is cancelled when the domain has just been made destroys that domain', async () => {
  await using vm = await saved();
  vm.xen.guest = null;
  const abort = new AbortController();
  vm.xen.instead.set('createRestore', () => {
    vm.xen.guest = { uuid: UUID, domid: 5, paused: true };
    abort.abort();
  });
  const restore = domainSnapshotRestore(vm.snapshot, { signal: abort.signal }, vm.xen);
  await expect(restore).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
  expect(vm.xen.guest).toBeNull();
});

test('libxl’s error is the restore’s, and nothing is destroyed: libxl has done that', async () => {
  await using vm = await saved();
  vm.xen.guest = null;
  vm.xen.instead.set('createRestore', () => {
    throw new LibvirtError('INTERNAL_ERROR', 'libxenlight failed to restore domain: xc: error: no memory');
  });
  await expect(domainSnapshotRestore(vm.snapshot, { signal }, vm.xen)).rejects.toThrow('xc: error: no memory');
  expect(vm.xen.calls).toEqual(['createRestore']);
});

test('an image that was cut short is refused before Xen is asked', async () => {
  await using vm = await saved();
  vm.xen.guest = null;
  await truncate(vm.memory_path, (vm.snapshot.memory_bytes ?? 0) - 100);
  await expect(domainSnapshotRestore(vm.snapshot, { signal }, vm.xen)).rejects.toThrow('has no end');
  expect(vm.xen.calls).toEqual([]);
});

test('a snapshot of disks alone has nothing to restore a domain from', async () => {
  await using vm = await saved();
  const restore = domainSnapshotRestore({ name: 's1' }, { signal }, vm.xen);
  await expect(restore).rejects.toMatchObject({ code: 'INVALID_ARG' });
});
