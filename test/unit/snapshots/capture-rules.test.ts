import { describe, expect, test } from '@jest/globals';
import type { DomainDisk, SnapshotLocation } from '../../../src/model/domain.ts';
import type { MemorySnapshot, SnapshotDef, SnapshotState } from '../../../src/model/snapshot.ts';
import { checkCapture } from '../../../src/snapshots/capture-rules.ts';

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
  readonly disks: readonly (readonly [DomainDisk, SnapshotLocation])[];
}

const INTERNAL: MemorySnapshot = { location: 'internal' };
const NONE: MemorySnapshot = { location: 'no' };

const check = ({ state = 'running', memory = INTERNAL, disks }: Case) => {
  const snapshot: SnapshotDef = {
    name: 's1',
    state,
    creationTime: 1n,
    memory,
    disks: disks.map(([{ target }, location]) => ({ name: target, location })),
    revertDisks: [],
  };
  checkCapture(
    snapshot,
    disks.map(([domainDisk]) => domainDisk),
  );
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
      'a mix',
      {
        disks: [
          [disk('xvda'), 'internal'],
          [disk('xvdb'), 'external'],
        ],
      },
      'mixing internal and external targets for a snapshot is not yet supported',
    ],
    [
      'an internal snapshot of an active domain without memory',
      { state: 'disk-snapshot', memory: NONE, disks: [[disk('xvda'), 'internal']] },
      'active domains require external disk snapshots; disk xvda requested internal',
    ],
    [
      'external disks',
      { state: 'disk-snapshot', memory: NONE, disks: [[disk('xvda'), 'external']] },
      "external snapshot 's1' is not yet supported by this driver",
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
