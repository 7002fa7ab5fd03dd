import { describe, expect, test } from '@jest/globals';
import { DOMAIN_SNAPSHOT, DOMAIN_SNAPSHOT_ARGS, fromLibxlJson, toLibxlJson } from '../../../../src/libxl/structs.ts';
import { type DomainDisk, SNAPSHOT_LOCATIONS, type SnapshotLocation } from '../../../../src/model/domain.ts';
import type { LibxlDomainSnapshot } from '../../../../src/model/libxl.ts';
import type { DiskSnapshot, MemorySnapshot, SnapshotDef } from '../../../../src/model/snapshot.ts';
import { fromLibxlSnapshot, toSnapshotArgs } from '../../../../src/xml/snapshot/libxl-args.ts';

const disk = (target: string, format: string): DomainDisk => ({
  target,
  bus: 'xen',
  device: 'disk',
  type: 'file',
  path: `/d/${target}.${format}`,
  hasSource: true,
  format,
  driver: 'qemu',
  readonly: false,
  shareable: false,
  snapshot: 'default',
});

const DISKS = [disk('xvda', 'qcow2'), disk('xvdb', 'raw')];
const XVDA = {
  pdev_path: '/d/xvda.qcow2',
  vdev: 'xvda',
  backend: 'qdisk',
  format: 'qcow2',
  removable: 1,
  readwrite: 1,
};
const XVDB = { pdev_path: '/d/xvdb.raw', vdev: 'xvdb', backend: 'qdisk', format: 'raw', removable: 1, readwrite: 1 };

const snapshot = (memory: MemorySnapshot, disks: readonly DiskSnapshot[]): SnapshotDef => ({
  name: 's1',
  state: 'running',
  creationTime: 1n,
  memory,
  disks,
  revertDisks: [],
});

const OPTIONS = { memoryPath: '/m/s1.save', live: false, reuse: false };

describe('memory', () => {
  test.each<[string, MemorySnapshot, boolean, object]>([
    ['no', { location: 'no' }, false, { memory: false }],
    ['no, though live was asked for', { location: 'no' }, true, { memory: false }],
    ['not decided', { location: 'default' }, false, { memory: false }],
    ['internal, to the path of our own', { location: 'internal' }, false, { memory: true, memory_path: '/m/s1.save' }],
    ['internal and live', { location: 'internal' }, true, { memory: true, memory_path: '/m/s1.save', live: true }],
    [
      'external, to the path given',
      { location: 'external', file: '/x/ram' },
      false,
      { memory: true, memory_path: '/x/ram' },
    ],
  ])('%s', (_, memory, live, expected) => {
    expect(toSnapshotArgs(snapshot(memory, []), DISKS, { ...OPTIONS, live })).toEqual({ ...expected, disks: [] });
  });
});

describe('disks', () => {
  test.each<[string, DiskSnapshot, readonly object[]]>([
    ['left out', { name: 'xvda', location: 'no' }, []],
    ['manual, which libxl has no word for', { name: 'xvda', location: 'manual' }, []],
    ['not decided', { name: 'xvda', location: 'default' }, []],
    ['of no such domain', { name: 'xvdz', location: 'internal' }, []],
    ['internal', { name: 'xvda', location: 'internal' }, [{ disk: XVDA, name: 's1' }]],
    [
      'external with a path',
      { name: 'xvdb', location: 'external', target: { type: 'file', path: '/d/b.s1' } },
      [{ disk: XVDB, external: true, external_format: 'qcow2', external_path: '/d/b.s1' }],
    ],
    [
      'external in a format of its own',
      { name: 'xvdb', location: 'external', target: { type: 'file', format: 'qed', path: '/d/b.s1' } },
      [{ disk: XVDB, external: true, external_format: 'qed', external_path: '/d/b.s1' }],
    ],
    [
      'external in a format that libxl lacks',
      { name: 'xvdb', location: 'external', target: { type: 'file', format: 'vmdk', path: '/d/b.s1' } },
      [{ disk: XVDB, external: true, external_format: 'unknown', external_path: '/d/b.s1' }],
    ],
  ])('%s', (_, request, expected) => {
    expect(toSnapshotArgs(snapshot({ location: 'no' }, [request]), DISKS, OPTIONS).disks).toEqual(expected);
  });

  test('both kinds in one snapshot keep their order', () => {
    const { disks } = toSnapshotArgs(
      snapshot({ location: 'internal' }, [
        { name: 'xvda', location: 'internal' },
        { name: 'xvdb', location: 'external', target: { type: 'file', path: '/d/b.s1' } },
      ]),
      DISKS,
      OPTIONS,
    );
    expect(disks?.map(({ disk: { vdev }, external }) => [vdev, external])).toEqual([
      ['xvda', undefined],
      ['xvdb', true],
    ]);
  });
});

describe('the result', () => {
  const asked = snapshot({ location: 'internal' }, [
    { name: 'xvda', location: 'internal' },
    { name: 'xvdb', location: 'external', target: { type: 'file', format: 'qcow2' } },
    { name: 'hdc', location: 'no' },
  ]);
  const result: LibxlDomainSnapshot = {
    name: 's1',
    memory: true,
    memory_path: '/m/s1.save',
    memory_bytes: 42,
    creation_time: 7,
    disks: [
      { disk: { vdev: 'xvda' }, name: 's1', path: '/d/xvda.qcow2', node: 'xvda-qcow2' },
      { disk: { vdev: 'xvdb' }, external: true, path: '/d/b.s1', backing: '/d/xvdb.raw' },
    ],
  };

  test('gives each disk what it was found to be, and leaves the others as they were', () => {
    expect(fromLibxlSnapshot(asked, result).disks).toEqual([
      { name: 'xvda', location: 'internal' },
      { name: 'xvdb', location: 'external', target: { type: 'file', format: 'qcow2', path: '/d/b.s1' } },
      { name: 'hdc', location: 'no' },
    ]);
  });

  test('keeps the format that was asked for, of an internal disk, too', () => {
    const target = { type: 'file', format: 'qcow2' } as const;
    const named = { ...asked, disks: [{ name: 'xvda', location: 'internal', target }] } as const;
    expect(fromLibxlSnapshot(named, result).disks).toEqual([{ name: 'xvda', location: 'internal', target }]);
  });

  test('keeps memory internal, though libxl has a path for it', () => {
    expect(fromLibxlSnapshot(asked, result).memory).toEqual({ location: 'internal' });
  });

  test('names the file of external memory', () => {
    const external = { ...asked, memory: { location: 'external', file: '/x/ram' } as const };
    expect(fromLibxlSnapshot(external, { ...result, memory_path: '/y/ram' }).memory).toEqual({
      location: 'external',
      file: '/y/ram',
    });
  });

  test('keeps everything that libxl does not know', () => {
    const full = { ...asked, description: 'd', parent: 'p', state: 'paused' } as const;
    expect(fromLibxlSnapshot(full, result)).toMatchObject({
      description: 'd',
      parent: 'p',
      state: 'paused',
      name: 's1',
    });
  });
});

describe('every combination of memory and disk modes', () => {
  const MEMORY: readonly MemorySnapshot[] = [
    { location: 'default' },
    { location: 'no' },
    { location: 'internal' },
    { location: 'external', file: '/x/ram' },
  ];
  const combinations = MEMORY.flatMap((memory) =>
    SNAPSHOT_LOCATIONS.flatMap((xvda) => SNAPSHOT_LOCATIONS.map((xvdb) => ({ memory, xvda, xvdb }))),
  );
  const target = { type: 'file', format: 'qcow2', path: '/d/new' } as const;
  const request = (name: string, location: SnapshotLocation): DiskSnapshot =>
    location === 'external' ? { name, location, target } : { name, location };

  /** libxl's JSON leaves out what has its default: an empty array, too. */
  const kept = <T extends { readonly disks?: readonly unknown[] }>({ disks, ...rest }: T) =>
    disks?.length ? { ...rest, disks } : rest;

  test('are 100', () => {
    expect(combinations).toHaveLength(100);
  });

  test.each(combinations)('memory $memory.location, disks $xvda and $xvdb', ({ memory, xvda, xvdb }) => {
    const asked = snapshot(memory, [request('xvda', xvda), request('xvdb', xvdb)]);
    for (const live of [false, true]) {
      const args = toSnapshotArgs(asked, DISKS, { ...OPTIONS, live });
      const saved = memory.location === 'internal' || memory.location === 'external';
      expect([args.memory, args.memory_path !== undefined, args.live === true]).toEqual([saved, saved, saved && live]);
      const captured = [xvda, xvdb].filter((location) => location === 'internal' || location === 'external');
      expect(args.disks?.map(({ external }) => (external ? 'external' : 'internal'))).toEqual(captured);

      const { live: _, ...rest } = args;
      const done = rest.disks?.map((disk) => ({ ...disk, path: disk.external_path ?? disk.disk.pdev_path ?? '' }));
      const result: LibxlDomainSnapshot = { name: 's1', creation_time: 7, ...rest, memory: saved, disks: done ?? [] };
      expect(fromLibxlSnapshot(asked, result)).toEqual(asked);
      expect(fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, toLibxlJson(DOMAIN_SNAPSHOT_ARGS, args))).toEqual(kept(args));
      const { memory: _memory, ...nothingSaved } = result;
      expect(fromLibxlJson(DOMAIN_SNAPSHOT, toLibxlJson(DOMAIN_SNAPSHOT, result))).toEqual(
        kept(saved ? result : nothingSaved),
      );
    }
  });
});
