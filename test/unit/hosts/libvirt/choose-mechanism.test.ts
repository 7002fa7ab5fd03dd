/** Which mechanism is chosen, by the option, the upstream's driver and what a probe of libxl says. */

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { chooseMechanism, openLibvirtHost } from '../../../../src/hosts/libvirt/choose-mechanism.ts';
import { LibxlHelper } from '../../../../src/libxl/helper/client.ts';
import type { Probe } from '../../../../src/libxl/helper/protocol.ts';
import { MECHANISM_OPTIONS } from '../../../../src/model/daemon-status.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';
import {
  NO_LIVE_DISKS,
  Record,
  RecordedEvents,
  RecordedUpstream,
  RUNNING,
} from '../../../support/hosts/recorded-upstream.ts';
import { brokenLibrary, type Fault, REAL_SONAME } from '../../../support/libxl/broken-libraries.ts';

const READY: Probe = { state: 'ready', soname: 'libxenlight.so.4.17' };
const says = (probe: Probe) => () => Promise.resolve(probe);
const notAsked = () => Promise.reject(new Error('libxl was loaded'));

test('auto takes libxl on Xen if it works', async () => {
  expect(await chooseMechanism('auto', 'Xen', says(READY))).toEqual({
    mechanism: 'libxl',
    reason: 'libxenlight.so.4.17 was loaded',
  });
  expect(await chooseMechanism('libxl', 'Xen', says(READY))).toMatchObject({ mechanism: 'libxl' });
});

test.each(['Xen', 'QEMU', 'TEST'])('libvirt never loads libxl, with driver %s', async (driver) => {
  expect(await chooseMechanism('libvirt', driver, notAsked)).toEqual({
    mechanism: 'libvirt',
    reason: 'xlsnapd was started with --mechanism libvirt',
  });
});

test('the upstream says what the host is: with another driver than Xen libxl is not loaded', async () => {
  expect(await chooseMechanism('auto', 'QEMU', notAsked)).toEqual({
    mechanism: 'libvirt',
    reason: 'the upstream driver is QEMU, not Xen',
  });
  await expect(chooseMechanism('libxl', 'QEMU', notAsked)).rejects.toMatchObject({
    code: 'NO_SUPPORT',
    detail: 'the upstream driver is QEMU, not Xen (--mechanism auto serves through libvirt then)',
  });
});

describe.each<[string, () => Promise<Probe>, string]>([
  ['no library', says({ state: 'no-library', message: 'no libxenlight' }), 'no libxenlight'],
  ['no Xen', says({ state: 'no-xen', soname: 'l', message: 'l cannot reach Xen' }), 'l cannot reach Xen'],
  ['a crash', () => Promise.reject(new LibvirtError('INTERNAL_ERROR', 'SIGSEGV')), 'internal error: SIGSEGV'],
])('%s', (_, probe, why) => {
  test('auto goes through libvirt and says why', async () => {
    const chosen = { mechanism: 'libvirt', reason: `libxl cannot be used: ${why}` };
    expect(await chooseMechanism('auto', 'Xen', probe)).toEqual(chosen);
  });

  test('libxl is a refusal that says why', async () => {
    await expect(chooseMechanism('libxl', 'Xen', probe)).rejects.toMatchObject({
      code: 'NO_SUPPORT',
      detail: `libxl cannot be used: ${why} (--mechanism auto serves through libvirt then)`,
    });
  });
});

describe('by the real helper process', () => {
  const before = process.env.LD_LIBRARY_PATH;
  let folder: Awaited<ReturnType<typeof scratchFolder>>;
  beforeEach(async () => {
    folder = await scratchFolder();
    process.env.LD_LIBRARY_PATH = folder.path;
  });
  afterEach(async () => {
    if (before === undefined) delete process.env.LD_LIBRARY_PATH;
    else process.env.LD_LIBRARY_PATH = before;
    await folder[Symbol.asyncDispose]();
  });

  const probe = async (): Promise<Probe> => {
    await using helper = LibxlHelper.start();
    return await helper.probe();
  };

  test.each<[Fault, string]>([
    ['damaged', `${REAL_SONAME} cannot be used: `],
    ['without a dependency', 'libxenctrl.so.4.99: cannot open shared object file'],
    ['without its functions', `${REAL_SONAME} cannot be used: `],
    ['crashes while it is loaded', 'the libxl helper process ended (SIGTRAP)'],
  ])('a library that is %s', async (fault, reason) => {
    await brokenLibrary(folder.path, REAL_SONAME, fault);
    const chosen = await chooseMechanism(MECHANISM_OPTIONS[0], 'Xen', probe);
    expect(chosen).toEqual({ mechanism: 'libvirt', reason: expect.stringContaining(reason) });
    expect(chosen.reason).toMatch(/^libxl cannot be used: /);
  });
});

test.each([true, false])('the host works by what was chosen: libxl %p', async (byLibxl) => {
  const unused = () => Promise.reject(new Error('not to be called'));
  const images = {
    ...{ create: unused, checkFree: unused, apply: unused, settleApply: unused, delete: unused, check: unused },
    ...{ checkApply: unused, checkStart: unused, commit: unused, checkMerge: unused, isEmptied: unused },
    ...{ checkDelete: unused, checkRebase: unused, checkRemoval: unused },
    ...{ chains: unused, rebase: unused, fileKey: unused, keysBelow: unused, remove: unused },
  };
  const libxl = {
    checkDomainSnapshotSave: async () => {},
    domainSnapshotSave: unused,
    domainSnapshotRecover: unused,
    domainHold: unused,
    hostMemory: unused,
    qmpSocketOf: unused,
  };
  const record = new Record();
  const host = await openLibvirtHost({
    upstream: new RecordedUpstream(record),
    events: new RecordedEvents(record),
    images,
    liveDisks: NO_LIVE_DISKS,
    ...(byLibxl && { libxl }),
    scratchDir: '/scratch',
    log: () => {},
  });
  const live = host.checkSave(RUNNING, { memory: true, memory_path: '/m', live: true });
  if (byLibxl) await expect(live).resolves.toBeUndefined();
  else await expect(live).rejects.toThrow('cannot be saved live through libvirt');
});
