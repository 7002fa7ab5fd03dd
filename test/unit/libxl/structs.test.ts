import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Libxenlight } from '../../../src/libxl/helper/bindings.ts';
import { openLibxenlight } from '../../../src/libxl/helper/library.ts';
import {
  DEVICE_DISK,
  DISK_SNAPSHOT,
  DOMAIN_SNAPSHOT,
  DOMAIN_SNAPSHOT_ARGS,
  fromLibxlJson,
  toLibxlJson,
} from '../../../src/libxl/structs.ts';
import { libxlDeviceDisk } from '../../../src/model/device-disk.ts';
import type { LibxlDeviceDisk, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../../src/model/libxl.ts';
import { domainDisks } from '../../../src/xml/domain/disks.ts';
import { parseDomain } from '../../../src/xml/domain/domain.ts';

/** libvirt's own domains for its libxl driver. */
const PAIRS = resolve(import.meta.dirname, '../../../../shared/corpus/libvirt-9.0.0/tests/libxlxml2domconfigdata');
const FIXTURES = resolve(import.meta.dirname, '../../../fixtures/libxl');
const fixture = (name: string) => readFileSync(resolve(FIXTURES, name), 'utf8');

const DISK: LibxlDeviceDisk = {
  pdev_path: '/srv/xen/a "quoted" ü.qcow2',
  vdev: 'xvda',
  backend: 'qdisk',
  format: 'qcow2',
  removable: 1,
  readwrite: 1,
};

const ARGS: LibxlDomainSnapshotArgs = {
  memory: true,
  memory_path: '/srv/xen/s1.save',
  live: false,
  disks: [
    { disk: DISK, name: 's1' },
    { disk: { vdev: 'xvdb', format: 'raw' }, external: true, external_format: 'qcow2', external_path: '/srv/xen/b.s1' },
  ],
};

const SNAPSHOT: LibxlDomainSnapshot = {
  name: 's1',
  memory: true,
  memory_path: '/srv/xen/s1.save',
  memory_bytes: 138_412_032,
  creation_time: 1_764_000_000,
  disks: [{ disk: DISK, name: 's1', path: '/srv/xen/a.qcow2', node: 'xvda-qcow2' }],
  config: { c_info: { type: 'pvh', name: 'vm' }, b_info: { 'type.pvh': {} } },
  timings: { suspend_ms: 2200, disks_ms: 7, resume_ms: 150 },
};

test('parameters are written as libxl would: defbools and enums as strings, an indent of four, a newline', () => {
  expect(toLibxlJson(DOMAIN_SNAPSHOT_ARGS, ARGS)).toBe(fixture('domain-snapshot-args.json'));
});

test('a result is written and read back the same', () => {
  const json = toLibxlJson(DOMAIN_SNAPSHOT, SNAPSHOT);
  expect(json).toBe(fixture('domain-snapshot.json'));
  expect(fromLibxlJson(DOMAIN_SNAPSHOT, json)).toEqual(SNAPSHOT);
  expect(fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, toLibxlJson(DOMAIN_SNAPSHOT_ARGS, ARGS))).toEqual(ARGS);
});

test('default values are left out', () => {
  const disk: LibxlDeviceDisk = {
    vdev: 'xvda',
    backend: 'unknown',
    format: 'unknown',
    backend_domid: 0,
    removable: 0,
    direct_io_safe: false,
    discard_enable: '<default>',
  };
  expect(JSON.parse(toLibxlJson(DEVICE_DISK, disk))).toEqual({ vdev: 'xvda' });
  expect(toLibxlJson(DOMAIN_SNAPSHOT_ARGS, { memory: '<default>', disks: [] })).toBe('{}\n');
  expect(JSON.parse(toLibxlJson(DISK_SNAPSHOT, { disk, external: false }))).toEqual({ disk: { vdev: 'xvda' } });
});

describe('reading refuses, with the path of the field,', () => {
  test.each([
    ['an unknown field', '{"name":"s","nmae":1}', "there is no field 'libxl_domain_snapshot.nmae'"],
    ['an inherited name', '{"name":"s","toString":1}', "there is no field 'libxl_domain_snapshot.toString'"],
    ['a missing name', '{}', "'libxl_domain_snapshot.name' has to be a value"],
    ['a wrong type', '{"name":1}', "'libxl_domain_snapshot.name' has to be a string"],
    ['a boolean as text', '{"name":"s","memory":"True"}', "'libxl_domain_snapshot.memory' has to be true or false"],
    ['a negative size', '{"name":"s","memory_bytes":-1}', "'libxl_domain_snapshot.memory_bytes' has to be a whole"],
    ['no array', '{"name":"s","disks":{}}', "'libxl_domain_snapshot.disks' has to be an array"],
    ['a disk without vdev', '{"name":"s","disks":[{"disk":{}}]}', 'disks[0].disk.vdev'],
    ['an enum’s unknown value', '{"name":"s","disks":[{"disk":{"vdev":"a","format":"vmdk"}}]}', 'disks[0].disk.format'],
    ['a config that is no object', '{"name":"s","config":[]}', "'libxl_domain_snapshot.config' has to be an object"],
    ['an array for the struct', '[]', "'libxl_domain_snapshot' has to be an object"],
    ['text that is no JSON', '{"name":', 'malformed libxl-json of libxl_domain_snapshot'],
  ])('%s', (_, json, text) => {
    const read = () => fromLibxlJson(DOMAIN_SNAPSHOT, json);
    expect(read).toThrow(text);
    expect(read).toThrow(expect.objectContaining({ code: 'INVALID_ARG' }));
  });

  test('a JSON boolean for a defbool, which libxl would skip without a word', () => {
    expect(() => fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, '{"live":true}')).toThrow('has to be True, False, <default>');
  });
});

describe('against the real libxenlight', () => {
  let libxl: Libxenlight;
  beforeAll(async () => {
    const opened = await openLibxenlight();
    if ('missing' in opened) throw new Error(opened.missing);
    libxl = opened;
  });

  /** Our JSON through libxl's own struct and out again. No hypervisor: a zeroed block is context enough for good JSON. */
  const throughLibxl = (json: string): Promise<string> =>
    libxl.withBlock((ctx) =>
      libxl.deviceDisk.with((disk) => {
        expect(libxl.deviceDisk.fromJson(ctx, disk, json)).toBe(0);
        return libxl.deviceDisk.toJson(ctx, disk);
      }),
    );

  test.each<[string, LibxlDeviceDisk]>([
    ['a qcow2 disk', DISK],
    ['a disk with nothing but its vdev', { vdev: 'hda' }],
    ['an empty CD drive', { vdev: 'hdc', format: 'empty', removable: 1, is_cdrom: 1 }],
    [
      'a physical disk of a driver domain',
      { backend_domid: 3, backend_domname: 'dd', vdev: 'sda', backend: 'phy', format: 'raw' },
    ],
    ['discard on', { vdev: 'xvda', script: 'block-iscsi', direct_io_safe: true, discard_enable: true }],
    ['discard off', { vdev: 'xvda', backend: 'tap', format: 'vhd', discard_enable: false }],
    ['qed', { vdev: 'xvda', backend: 'standalone', format: 'qed' }],
    ['qcow', { vdev: 'xvda', backend: 'qdisk', format: 'qcow' }],
  ])('%s comes back byte for byte', async (_, disk) => {
    const json = toLibxlJson(DEVICE_DISK, disk);
    expect(await throughLibxl(json)).toBe(json);
    expect(fromLibxlJson(DEVICE_DISK, json)).toEqual(disk);
  });

  test('so does every disk of libvirt’s own domains, as its driver hands them to libxl', async () => {
    const files = readdirSync(PAIRS).filter((file) => file.endsWith('.xml'));
    const disks = files.flatMap((file) => domainDisks(parseDomain(readFileSync(resolve(PAIRS, file), 'utf8'))));
    expect(disks.length).toBeGreaterThan(10);
    for (const disk of disks.map(libxlDeviceDisk)) {
      const json = toLibxlJson(DEVICE_DISK, disk);
      expect(await throughLibxl(json)).toBe(json);
    }
  });

  test('libxl skips a boolean where a defbool belongs, so ours are strings', async () => {
    expect(await throughLibxl('{"vdev":"xvda","discard_enable":true}')).toBe(
      toLibxlJson(DEVICE_DISK, { vdev: 'xvda' }),
    );
  });

  test('sizes are found by probing', async () => {
    const { soname, deviceDisk, dominfo, domainConfig, restoreParams } = libxl;
    const sizes = await Promise.all([deviceDisk, dominfo, domainConfig, restoreParams].map((type) => type.size()));
    if (soname === 'libxenlight.so.4.17') expect(sizes).toEqual([144, 120, 1288, 24]);
    for (const size of sizes) expect(size % 4).toBe(0);
  });

  test('restore parameters ask for a stream of version 2; libxl’s own default is the legacy one', async () => {
    const json = await libxl.withBlock((ctx) =>
      libxl.restoreParams.with((params) => {
        const before = libxl.restoreParams.toJson(ctx, params);
        libxl.restoreParams.fromJson(ctx, params, '{"checkpointed_stream":0,"stream_version":2}');
        return [before, libxl.restoreParams.toJson(ctx, params)];
      }),
    );
    expect(json.map((text) => JSON.parse(text).stream_version ?? 1)).toEqual([1, 2]);
  });
});
