import { describe, expect, test } from '@jest/globals';
import { checkDomainSnapshotSave } from '../../../src/libxl/save.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';
import { FakeXen } from '../../support/libxl/fake-xen.ts';

/** A check of a save with memory, on a guest of which this is so. */
async function check(xen: FakeXen, args: object = {}): Promise<void> {
  await using folder = await scratchFolder();
  await checkDomainSnapshotSave(xen.domid, { memory_path: `${folder.path}/s1.save`, ...args }, xen);
}

function guestWith(facts: object, xenstore: Readonly<Record<string, string>> = {}): FakeXen {
  const xen = new FakeXen();
  xen.facts = facts;
  for (const [key, value] of Object.entries(xenstore)) xen.xenstore.set(`/local/domain/5/${key}`, value);
  return xen;
}

describe('memory cannot be saved', () => {
  test.each([
    [
      'with a PCI device',
      { pcidevs: [{ bus: 3, dev: 0x1f, func: 2, vdevfn: 8 }] },
      'OPERATION_INVALID',
      "the memory of domain '5' cannot be saved while it has PCI device 0000:03:1f.2: detach it first",
    ],
    [
      'with virtual NUMA nodes',
      { b_info: { vnuma_nodes: [{ memkb: 1 }] } },
      'OPERATION_UNSUPPORTED',
      "the memory of domain '5' cannot be saved: libxl does not save domains with virtual NUMA nodes",
    ],
  ])('%s', async (_, facts, code, detail) => {
    const xen = guestWith(facts);
    await expect(check(xen)).rejects.toMatchObject({ code, detail });
    await checkDomainSnapshotSave(xen.domid, { memory: false }, xen);
    expect(xen.calls).toEqual([]);
    expect(xen.openHelpers).toBe(0);
  });

  test('of a guest that says what it can do, and suspending is not among it', async () => {
    const xen = guestWith({}, { 'control/feature-poweroff': '1' });
    await expect(check(xen)).rejects.toMatchObject({
      code: 'OPERATION_UNSUPPORTED',
      detail: expect.stringContaining("the guest of domain '5' does not support suspend"),
    });
  });
});

describe('memory can be saved of a guest', () => {
  test.each([
    ['that offers to be suspended', { 'control/feature-poweroff': '1', 'control/feature-suspend': '1' }],
    ['that has the event channel', { 'control/feature-poweroff': '1', 'device/suspend/event-channel': '7' }],
    ['that tells nothing: an old Linux, or HVM without PV drivers', {}],
  ])('%s', async (_, xenstore) => {
    await check(guestWith({}, xenstore));
  });
});

test('a disk that libxl knows to be in a driver domain is refused, whatever the caller knows', async () => {
  const xen = guestWith({ disks: [{ vdev: 'xvda', backend_domname: 'storage' }] });
  const disks = [{ disk: { vdev: 'xvda', pdev_path: '/a.qcow2', format: 'qcow2', backend: 'qdisk' } }];
  await expect(check(xen, { disks })).rejects.toMatchObject({
    code: 'CONFIG_UNSUPPORTED',
    detail: "internal snapshot for disk xvda unsupported in driver domain 'storage'",
  });
});

test('a guest whose memory image would not fit is refused before it is touched', async () => {
  const xen = new FakeXen();
  xen.guest = { ...xen.guest, current_memkb: 2 ** 40 };
  await expect(check(xen)).rejects.toThrow('not enough space for memory image');
  expect(xen.calls).toEqual([]);
});
