import { describe, expect, test } from '@jest/globals';
import type { DomainDisk, SnapshotLocation } from '../../../../src/model/domain.ts';
import { element } from '../../../../src/model/element.ts';
import type { DiskTarget, MemorySnapshot, SnapshotState } from '../../../../src/model/snapshot.ts';
import { checkCapture } from '../../../../src/snapshots/create/capture-rules.ts';

const disk = (target: string, more: Partial<DomainDisk> = {}): DomainDisk => ({
  target,
  bus: 'xen',
  device: 'disk',
  type: 'file',
  path: `/d/${target}`,
  hasSource: true,
  format: 'qcow2',
  readonly: false,
  shareable: false,
  snapshot: 'default',
  ...more,
});

interface Case {
  readonly state?: SnapshotState;
  readonly memory?: MemorySnapshot;
  readonly disks: readonly (readonly [DomainDisk, SnapshotLocation, DiskTarget?])[];
}

const INTERNAL: MemorySnapshot = { location: 'internal' };
const NONE: MemorySnapshot = { location: 'no' };

const check = ({ state = 'running', memory = INTERNAL, disks }: Case) => {
  checkCapture({
    name: 's1',
    state,
    creationTime: 1n,
    memory,
    disks: disks.map(([{ target: name }, location, target]) => ({ name, location, ...(target && { target }) })),
    revertDisks: [],
    domain: {
      element: element('domain', { type: 'xen' }),
      disks: disks.map(([domainDisk]) => domainDisk),
      images: new Map(),
      volumes: [],
    },
  });
};

describe('accepted', () => {
  test.each<[string, Case]>([
    [
      'memory and all disks',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb'), 'internal'],
        ],
      },
    ],
    ['memory of a guest without disks', { disks: [] }],
    [
      'a read-only disk left out',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb', { readonly: true }), 'no'],
        ],
      },
    ],
    [
      'an empty drive left out',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('hdc', { hasSource: false }), 'no'],
        ],
      },
    ],
    ['disks of a domain that is off', { state: 'shutoff', memory: NONE, disks: [[disk('xvda'), 'internal']] }],
    [
      'a volume that libxl serves itself',
      { disks: [[disk('xvda', { type: 'block', format: 'raw', driver: 'phy' }), 'internal']] },
    ],
    ['overlays of a running domain', { state: 'disk-snapshot', memory: NONE, disks: [[disk('xvda'), 'external']] }],
    [
      'disks of a running domain inside their images',
      { state: 'disk-snapshot', memory: NONE, disks: [[disk('xvda'), 'internal']] },
    ],
    [
      'memory in a file of its own, no disk',
      { memory: { location: 'external', file: '/m' }, disks: [[disk('xvda'), 'no']] },
    ],
    [
      'a mix',
      {
        memory: { location: 'external', file: '/m' },
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb', { format: 'raw' }), 'external'],
        ],
      },
    ],
    ['qcow2 on a block device', { disks: [[disk('xvda', { type: 'block' }), 'internal']] }],
  ])('%s', (_, request) => {
    expect(() => check(request)).not.toThrow();
  });
});

describe('refused with code 67, naming the disk', () => {
  const all = 'internal and full system snapshots require all disks to be selected for snapshot';
  test.each<[string, Case, string]>([
    [
      'a raw disk',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb', { format: 'raw' }), 'internal'],
        ],
      },
      'internal snapshot for disk xvdb unsupported for storage type raw',
    ],
    [
      'a disk in a format of its own',
      { disks: [[disk('xvda', { format: 'vpc' }), 'internal']] },
      'internal snapshot for disk xvda unsupported for storage type vpc',
    ],
    [
      'a network disk',
      { disks: [[disk('xvda', { type: 'network' }), 'internal']] },
      "internal snapshot for disk xvda unsupported on a 'network' source",
    ],
    [
      'a writable disk left out',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb'), 'no'],
        ],
      },
      all,
    ],
    ['memory without the only disk', { disks: [[disk('xvda'), 'no']] }, all],
    ['nothing at all', { state: 'shutoff', memory: NONE, disks: [] }, 'nothing selected for snapshot'],
    [
      'an overlay in a format of its own',
      { disks: [[disk('xvda'), 'external', { type: 'file', format: 'vmdk', path: '/d/a' }]] },
      'external snapshot format for disk xvda is unsupported: vmdk',
    ],
    [
      'an overlay on the network',
      { disks: [[disk('xvda'), 'external', { type: 'network' }]] },
      "external snapshot for disk xvda unsupported on a 'network' target",
    ],
    [
      'an overlay above a network disk',
      { disks: [[disk('xvda', { type: 'network' }), 'external']] },
      "external snapshot for disk xvda unsupported on a 'network' source",
    ],
    [
      'an overlay for a disk that several guests write to',
      { disks: [[disk('xvda', { shareable: true }), 'external']] },
      'external snapshot of disk xvda, which is shareable, is not supported',
    ],
    [
      'an overlay on a base whose path its header cannot hold',
      { disks: [[disk('xvda', { path: `/${'d/'.repeat(600)}a` }), 'external']] },
      `image '/${'d/'.repeat(600)}a' of disk 'xvda' has a path of 1202 bytes`,
    ],
  ])('%s', (_, request, text) => {
    expect(() => check(request)).toThrow(`unsupported configuration: ${text}`);
  });

  test('a disk to be taken by hand, with code 84', () => {
    expect(() => check({ disks: [[disk('xvda'), 'manual']] })).toThrow(
      "Operation not supported: 'manual' snapshot mode of disk 'xvda' is not supported",
    );
  });
});
