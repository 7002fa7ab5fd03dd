import { expect, test } from '@jest/globals';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { planRevertDisks } from '../../../../src/snapshots/revert/plan-disks.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

const definition = parseDefinition(
  "<domain type='xen'><name>g</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>4096</memory><os><type>linux</type></os>" +
    "<devices><disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/vm'/><target dev='xvda' bus='xen'/></disk></devices></domain>",
);

/** Of a disk on a block device, with an overlay at this path. */
const planned = (type: 'file' | 'block', path: string) => {
  const snapshot: SnapshotDef = {
    ...{ name: 's1', state: 'shutoff', creationTime: 1n, memory: { location: 'no' }, revertDisks: [] },
    disks: [{ name: 'xvda', location: 'external', target: { type, format: 'qcow2', path } }],
    domain: definition,
  };
  return planRevertDisks(snapshot, { tips: new Map(), others: [], present: new Set(), suffix: '1700' });
};

test('the new overlay of a disk on a block device is beside the snapshot’s overlay', () => {
  const { overlays } = planned('file', '/images/vm.s1');
  expect(overlays.map(({ external_path }) => external_path)).toEqual(['/images/vm.1700']);
});

test('an overlay on a block device has no place for a new file beside it: refused, with the way to take such snapshots', () => {
  expect(() => planned('block', '/dev/vg/overlay')).toThrow(
    expect.objectContaining({
      code: 'OPERATION_UNSUPPORTED',
      detail: expect.stringMatching(/^source disk for 'xvda' is not a regular file.*--diskspec DISK,file=\/PATH$/),
    }),
  );
});
