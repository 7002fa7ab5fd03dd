import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { libxlDeviceDisk } from '../../../src/model/device-disk.ts';
import type { DomainDisk } from '../../../src/model/domain.ts';
import { domainDisks } from '../../../src/xml/domain/disks.ts';
import { parseDomain } from '../../../src/xml/domain/domain.ts';

/** libvirt's own pairs: a domain, and the libxl_domain_config that its driver makes of it. */
const PAIRS = resolve(import.meta.dirname, '../../../../shared/corpus/libvirt-9.0.0/tests/libxlxml2domconfigdata');

const DISK: DomainDisk = {
  target: 'xvda',
  bus: 'xen',
  device: 'disk',
  type: 'file',
  path: '/srv/a.img',
  hasSource: true,
  readonly: false,
  shareable: false,
  snapshot: 'default',
};

const pairs = readdirSync(PAIRS).filter((file) => file.endsWith('.xml'));

test.each(pairs)('%s: the disks are those of libvirt’s driver', (file) => {
  const xml = parseDomain(readFileSync(join(PAIRS, file), 'utf8'));
  const config = JSON.parse(readFileSync(join(PAIRS, file.replace('.xml', '.json')), 'utf8'));
  expect(domainDisks(xml).map(libxlDeviceDisk)).toEqual(config.disks ?? []);
});

test('the pairs hold disks', () => {
  const disks = pairs.flatMap((file) => domainDisks(parseDomain(readFileSync(join(PAIRS, file), 'utf8'))));
  expect(disks.length).toBeGreaterThan(10);
});

describe('driver name and format', () => {
  test.each([
    ['qemu', 'raw', 'qdisk', 'raw'],
    ['qemu', undefined, 'qdisk', 'raw'],
    ['qemu', 'qcow2', 'qdisk', 'qcow2'],
    ['qemu', 'qcow', 'qdisk', 'qcow'],
    ['qemu', 'qed', 'qdisk', 'qed'],
    ['qemu', 'vpc', 'qdisk', 'vhd'],
    ['tap', 'qcow2', 'qdisk', 'qcow2'],
    ['tap', 'raw', 'tap', 'raw'],
    ['tap2', 'vhd', 'tap', 'vhd'],
    ['file', 'raw', 'qdisk', 'raw'],
    ['phy', 'raw', 'phy', 'raw'],
    [undefined, 'raw', undefined, 'raw'],
    [undefined, undefined, undefined, 'raw'],
    // What libvirt refuses to start stays unknown.
    ['file', 'qcow2', undefined, undefined],
    ['phy', 'qcow2', undefined, undefined],
    ['qemu', 'vmdk', undefined, undefined],
    ['tap', 'qed', undefined, undefined],
    ['nbd', 'raw', undefined, undefined],
    ['constructor', 'name', undefined, undefined],
    ['qemu', 'constructor', undefined, undefined],
  ] as const)('%s %s is backend %s, format %s', (driver, format, backend, libxlFormat) => {
    const disk = { ...DISK, ...(driver && { driver }), ...(format && { format }) };
    expect(libxlDeviceDisk(disk)).toEqual({
      pdev_path: '/srv/a.img',
      vdev: 'xvda',
      ...(backend && { backend }),
      ...(libxlFormat && { format: libxlFormat }),
      removable: 1,
      readwrite: 1,
    });
  });

  test('a network disk is QEMU’s', () => {
    const { path: _, ...disk } = DISK;
    const expected = { vdev: 'xvda', backend: 'qdisk', format: 'raw', removable: 1, readwrite: 1 };
    expect(libxlDeviceDisk({ ...disk, type: 'network' })).toEqual(expected);
  });
});

test('a read-only disk has no readwrite', () => {
  expect(libxlDeviceDisk({ ...DISK, readonly: true })).not.toHaveProperty('readwrite');
});

test('an empty CD drive has the empty format', () => {
  const { path: _, ...drive } = DISK;
  const disk: DomainDisk = {
    ...drive,
    target: 'hdc',
    device: 'cdrom',
    driver: 'qemu',
    hasSource: false,
    readonly: true,
  };
  const expected = { vdev: 'hdc', backend: 'qdisk', format: 'empty', removable: 1, is_cdrom: 1 };
  expect(libxlDeviceDisk(disk)).toEqual(expected);
});
