import { expect, jest, test } from '@jest/globals';
import { placesOf } from '../../../src/dbus/paths.ts';
import { domainEventSignal, Signals } from '../../../src/dbus/signals.ts';
import type { JobReport } from '../../../src/snapshots/api.ts';

const domain = { name: 'vm', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 3 };
const places = placesOf('Xen');
const path = '/org/libvirt/Xen/domain/_6695eb01_f6a4_8304_79aa_97f2502e193f';
const snapshot = '/org/libvirt/Xen/domainsnapshot/_6695eb01_f6a4_8304_79aa_97f2502e193f_a_2db';

test.each([
  ['created', 'SnapshotCreated'],
  ['deleted', 'SnapshotDeleted'],
  ['reverted', 'SnapshotReverted'],
] as const)('%s is %s on the domain', (kind, member) => {
  expect(new Signals(places).of({ kind, domain, name: 'a-b' })).toEqual({
    path,
    interface: 'org.xlsnap.Domain',
    member,
    signature: 'os',
    values: [snapshot, 'a-b'],
  });
});

test("a lifecycle event is libvirt-dbus' DomainEvent", () => {
  expect(domainEventSignal(places, domain, { event: 2, detail: 3 })).toEqual({
    path: '/org/libvirt/Xen',
    interface: 'org.libvirt.Connect',
    member: 'DomainEvent',
    signature: 'oii',
    values: [path, 2, 3],
  });
});

const report = (more: Partial<JobReport>): JobReport => ({
  operation: 'create',
  snapshot: 's',
  phase: 'saving',
  progress: undefined,
  ended: false,
  ...more,
});

test('progress has bytes where they are counted, and no bytes of none where not', () => {
  const signals = new Signals(places);
  const of = (job: JobReport) => signals.of({ kind: 'job', domain, job });
  expect(of(report({ progress: { done: 4096, total: 2 ** 40 } }))).toMatchObject({
    member: 'JobProgress',
    signature: 'ssstt',
    values: ['create', 's', 'saving', 4096n, 2n ** 40n],
  });
  expect(of(report({ phase: 'disks', progress: { done: 0.4, total: 10.6 } }))?.values.slice(3)).toEqual([0n, 11n]);
  expect(of(report({ phase: 'metadata' }))?.values).toEqual(['create', 's', 'metadata', 0n, 0n]);
});

test('bytes alone are told a few times a second; phases and the end always, each domain for itself', () => {
  jest.useFakeTimers({ now: 0 });
  try {
    const signals = new Signals(places);
    const told = (job: Partial<JobReport>, of = domain): boolean =>
      signals.of({ kind: 'job', domain: of, job: report(job) }) !== undefined;
    expect([told({}), told({}), told({ phase: 'paused' }), told({ phase: 'paused' })]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(told({ phase: 'paused' }, { ...domain, uuid: '11111111-2222-3333-4444-555555555555' })).toBe(true);
    jest.advanceTimersByTime(300);
    expect([told({ phase: 'paused' }), told({ phase: 'completed', ended: true })]).toEqual([true, true]);
    // The next job begins as the first did.
    expect(told({})).toBe(true);
  } finally {
    jest.useRealTimers();
  }
});
