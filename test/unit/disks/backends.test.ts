import { describe, expect, test } from '@jest/globals';
import { backendOf, groupByBackend, refusalOf } from '../../../src/disks/backends.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { overlay } from '../../support/disks/device-model.ts';
import { fakeVolumes, phy } from '../../support/disks/fake-volumes.ts';
import { disk } from '../../support/hosts/embedded.ts';

const qcow2 = disk('xvda', '/images/a.qcow2');
const raw = disk('xvda', '/images/a.raw', 'raw');
const on = (snapshot: LibxlDiskSnapshot, change: Partial<LibxlDiskSnapshot['disk']>) => ({
  ...snapshot,
  disk: { ...snapshot.disk, ...change },
});

describe('a disk whose snapshots can be made', () => {
  test.each([
    ['qcow2 by QEMU, inside', qcow2, 'qcow2'],
    ['qcow2 by QEMU, outside', overlay(qcow2, '/o'), 'overlay'],
    ['raw by QEMU, outside', overlay(raw, '/o'), 'overlay'],
    ['qcow2 without a backend: libxl takes QEMU', on(qcow2, { backend: 'unknown' }), 'qcow2'],
    ['a raw file without a backend: libxl takes QEMU', on(overlay(raw, '/o'), { backend: 'unknown' }), 'overlay'],
    ['a volume of LVM', phy('xvda', '/dev/vg/lv'), 'lvm'],
    ['a volume of ZFS', phy('xvda', '/dev/zvol/tank/vm'), 'zfs'],
  ] as const)('%s', async (_, snapshot, expected) => {
    await using _volumes = await fakeVolumes({ 'vg/lv': { contents: '' } });
    expect(await refusalOf(snapshot)).toBeUndefined();
    expect((await backendOf(snapshot)).name).toBe(expected);
    expect(await groupByBackend([snapshot])).toEqual([{ backend: await backendOf(snapshot), disks: [snapshot] }]);
  });
});

describe('one whose cannot is refused with code 67, naming disk and reason', () => {
  test.each([
    ['raw, inside', raw, 'internal snapshot for disk xvda unsupported for storage type raw'],
    [
      'vhd, outside',
      on(overlay(qcow2, '/o'), { format: 'vhd' }),
      'external snapshot for disk xvda unsupported for storage type vhd',
    ],
    ['blktap', on(raw, { backend: 'tap' }), "unsupported for backend tap: qdisk is needed (driver name='qemu')"],
    [
      'phy, outside',
      { ...overlay(phy('xvda', '/dev/vg/lv'), '/o') },
      'external snapshot for disk xvda unsupported for backend phy',
    ],
    [
      'a partition',
      phy('xvda', '/dev/sdb1'),
      "internal snapshot for disk xvda unsupported as a ZFS volume ('/dev/sdb1' is not in /dev/zvol/), and as an LVM volume ('/dev/sdb1' is not a volume)",
    ],
    ['a foreign mapping', phy('xvda', '/dev/mapper/nvg-lv'), 'Volume group "nvg" not found'],
    ['a block script', on(raw, { script: 'block-iscsi' }), "unsupported with block script 'block-iscsi'"],
    ['a driver domain', on(qcow2, { backend_domid: 3 }), "unsupported in driver domain '3'"],
    ['a driver domain by name', on(qcow2, { backend_domname: 'storage' }), "unsupported in driver domain 'storage'"],
    ['no image', { disk: { vdev: 'xvda', format: 'qcow2' } }, "disk 'xvda' has no image"],
  ] as const)('%s', async (_, snapshot, text) => {
    await using _volumes = await fakeVolumes({ 'vg/lv': { contents: '' } });
    expect(await refusalOf(snapshot as LibxlDiskSnapshot)).toContain(text);
    const refused = groupByBackend([snapshot as LibxlDiskSnapshot]);
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED', detail: expect.stringContaining(text) });
  });

  test('a volume where LVM is not installed', async () => {
    const { PATH } = process.env;
    process.env.PATH = '/nonexistent';
    try {
      expect(await refusalOf(phy('xvda', '/dev/vg/lv'))).toMatch(/'lvs' is not installed \(Debian package lvm2\)\)$/);
    } finally {
      process.env.PATH = PATH;
    }
  });
});
