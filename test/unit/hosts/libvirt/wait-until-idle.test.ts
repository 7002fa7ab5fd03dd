import { beforeEach, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { upstreamIdle } from '../../../../src/hosts/libvirt/wait-until-idle.ts';
import { GUEST, Record, RecordedUpstream } from '../../../support/hosts/recorded-upstream.ts';
import { until } from '../../../support/until.ts';

let record: Record;
let upstream: RecordedUpstream;
let waits: number;

beforeEach(() => {
  record = new Record();
  upstream = new RecordedUpstream(record);
  waits = 0;
});

const idle = (signal = new AbortController().signal) =>
  upstreamIdle(upstream, GUEST, { signal, waiting: () => void waits++ });

test('an upstream without a job is idle at once', async () => {
  await idle();
  expect(record.lines).toEqual(['getJobStats']);
  expect(waits).toBe(0);
});

test('a busy one is waited for, which is said once, until its job has ended', async () => {
  upstream.busy = 2;
  await idle();
  expect(record.lines).toEqual(['getJobStats', 'getJobStats', 'getJobStats']);
  expect(waits).toBe(1);
});

test('one whose job lets nobody in, not even to ask, is busy', async () => {
  upstream.failures.getJobStats = { times: 2, error: new LibvirtError('OPERATION_TIMEOUT', 'cannot acquire lock') };
  await idle();
  expect(record.lines).toHaveLength(3);
  expect(waits).toBe(1);
});

test.each(['OPERATION_INVALID', 'NO_DOMAIN', 'NO_SUPPORT'] as const)('%s means that there is no job', async (code) => {
  upstream.failures.getJobStats = { times: 1, error: new LibvirtError(code, 'no') };
  await idle();
  expect(waits).toBe(0);
});

test('one that cannot be asked is not idle', async () => {
  upstream.failures.getJobStats = { times: 1, error: new LibvirtError('RPC', 'connection lost') };
  await expect(idle()).rejects.toThrow('connection lost');
});

test('the wait ends with its signal', async () => {
  upstream.busy = Number.POSITIVE_INFINITY;
  const abort = new AbortController();
  const waiting = idle(abort.signal);
  await until(() => waits === 1);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
});
