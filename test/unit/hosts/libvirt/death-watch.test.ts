import { beforeEach, expect, test } from '@jest/globals';
import { DeathWatch } from '../../../../src/hosts/libvirt/death-watch.ts';
import {
  GUEST,
  REARMED,
  Record,
  RecordedEvents,
  RecordedUpstream,
  RUNNING,
} from '../../../support/hosts/recorded-upstream.ts';

let record: Record;
let upstream: RecordedUpstream;
let logged: string[];
let watch: DeathWatch;

beforeEach(() => {
  record = new Record();
  upstream = new RecordedUpstream(record);
  logged = [];
  watch = new DeathWatch({ upstream, events: new RecordedEvents(record), log: (text) => logged.push(text) });
});

test('libvirtd suspends the guest to memory and wakes it up, and clients see neither', async () => {
  await watch.rearm(RUNNING);
  expect(record.lines).toEqual(REARMED);
  expect(logged).toEqual([]);
});

test('a guest that does not wake up at once is woken up again', async () => {
  upstream.failures.pmWakeup = { times: 2 };
  await watch.rearm(RUNNING);
  expect(record.lines.filter((line) => line === 'pmWakeup')).toHaveLength(3);
  expect(upstream.state).toBe('running');
  expect(logged).toEqual([]);
});

test('a guest that stays asleep is logged with the command that wakes it up', async () => {
  upstream.failures.pmWakeup = { times: Number.POSITIVE_INFINITY };
  await watch.rearm(RUNNING);
  expect(record.lines.filter((line) => line === 'pmWakeup')).toHaveLength(5);
  expect(logged).toEqual([`domain 'g' is still suspended: internal error: pmWakeup failed; run: virsh dompmwakeup g`]);
});

test('a suspend that fails leaves the guest running, and is logged with the ways to make up for it', async () => {
  upstream.failures.pmSuspendForDuration = { times: 1 };
  await watch.rearm(RUNNING);
  expect(record.lines).not.toContain('pmWakeup');
  expect(logged).toEqual([
    `libvirtd may no longer notice when domain 'g' shuts down: internal error: pmSuspendForDuration failed; ` +
      'restart libvirtd, or run: virsh dompmsuspend g mem && virsh dompmwakeup g',
  ]);
});

test('a suspend that says it failed, but has suspended the guest, is followed by the wakeup', async () => {
  upstream.failures.pmSuspendForDuration = { times: 1 };
  upstream.stateAfterFailure = 'pmsuspended';
  await watch.rearm(RUNNING);
  expect(upstream.state).toBe('running');
  expect(logged).toEqual([]);
});

test.each([
  ['has ended', undefined],
  ['is off', { ...GUEST, id: -1 }],
  ['was started anew', { ...GUEST, id: 6 }],
])('a domain that %s is left alone', async (_what, ref) => {
  upstream.ref = ref;
  await watch.rearm(RUNNING);
  expect(record.lines.filter((line) => line.startsWith('pm'))).toEqual([]);
  expect(logged).toEqual([]);
});

test('a libvirtd that cannot be reached is logged', async () => {
  upstream.failures.lookupByUUID = { times: 1 };
  await watch.rearm(RUNNING);
  expect(logged).toEqual([expect.stringContaining('internal error: lookupByUUID failed')]);
});
