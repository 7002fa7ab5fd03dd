/** Block jobs across daemons: the device model has them, a record says what they are. */

import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { BlockJob, BlockJobState } from '../../../../src/model/blocks/block-job.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import type { BlockDevices, BlockJobRecords } from '../../../../src/snapshots/block-jobs/ports.ts';
import { RunningJobs } from '../../../../src/snapshots/block-jobs/running-jobs.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { Jobs } from '../../../../src/snapshots/jobs.ts';
import type { Journal } from '../../../../src/snapshots/ports/journal.ts';

const ref = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 4 };
const domain: Domain = { ref, state: 'running', persistent: true };
const top = { path: '/g.b1', format: 'qcow2' };
const base = { path: '/g.qcow2', format: 'qcow2' };
const JOB: BlockJob = { kind: 'active-commit', disk: 'xvda', layer: { disk: 'xvda', top, base }, remove: false };
type Moved = Parameters<BlockDevices['finish']>[2];
const DONE = { done: 8, total: 8, speed: 0 };
type Recorded = Awaited<ReturnType<BlockJobRecords['load']>>[number];
const READY: BlockJobState = { state: 'ready', done: 8, total: 8, speed: 0 };

function orThrow<T>(answer: T | Error): T {
  if (answer instanceof Error) throw answer;
  return answer;
}

/** A daemon that starts: a record of an earlier one, and what the device model says of its job. */
function started(
  recorded: Recorded,
  state: BlockJobState | Error | undefined,
  now: Domain | Error = domain,
  cancelled: BlockJobState = { ...READY, state: 'concluded', error: 'Operation canceled' },
) {
  const seen = {
    finished: 0,
    pivots: 0,
    events: [] as string[],
    records: [recorded] as Recorded[],
    moved: [] as string[],
    logged: [] as string[],
  };
  let reported = state;
  const devices = {
    state: async () => orThrow(reported),
    finish: async (_domain: Domain, job: BlockJob, moved: Moved) => {
      seen.finished += 1;
      reported = undefined;
      // As the devices do: a copy moves if it is pivoted.
      if (job.kind === 'copy' && !job.pivot) return;
      seen.pivots += 1;
      await moved();
    },
    cancel: async () => {
      reported = cancelled;
    },
    dismiss: async () => {},
  } as unknown as BlockDevices;
  const images = new Map([['xvda', top]]);
  const host = {
    lookup: async () => orThrow(now),
    definition: async () => ({ images }),
    setDisks: async (_domain: Domain, to: ReadonlyMap<string, { path: string }>, which: string) =>
      void seen.moved.push(`${which} ${to.get('xvda')?.path}`),
  };
  const jobs = new Jobs({} as Journal);
  const context = { host, jobs, log: (text: string) => void seen.logged.push(text) } as unknown as SnapshotContext;
  const records = {
    load: async () => [recorded],
    write: async (of: typeof ref, left: readonly BlockJob[]) => void seen.records.push({ domain: of, jobs: left }),
  };
  const events = { emitBlockJob: (_ref: unknown, { status }: { status: string }) => void seen.events.push(status) };
  return { running: new RunningJobs(context, { devices, records, events }), jobs, seen };
}

test('a daemon that is started again finds a ready job, keeps it ready, and can pivot it', async () => {
  const { running, jobs, seen } = started({ domain: ref, jobs: [JOB] }, READY);
  await using _running = running;
  await running.resume();
  const found = running.of(ref, 'xvda');
  if (!found) throw new Error('the job was not found');
  expect(() => jobs.refuseBusyDisks(ref.uuid, ['xvda'])).toThrow("disk 'xvda' already in active block job");
  expect(() => jobs.refuseBlockJobs(ref.uuid)).toThrow('domain has active block job');
  expect(seen.finished).toBe(0);
  await running.pivot(found);
  expect((await found.ended).outcome).toBe('completed');
  // A daemon that dies in the pivot must not take the job for a ready one.
  expect(seen.records).toContainEqual({ domain: ref, jobs: [{ ...JOB, pivot: true }] });
  expect(seen.moved).toEqual(['live /g.qcow2', 'persistent /g.qcow2']);
  expect(seen.events.at(-1)).toBe('completed');
  expect(seen.records.at(-1)).toEqual({ domain: ref, jobs: [] });
  expect(() => jobs.refuseBlockJobs(ref.uuid)).not.toThrow();
});

test('a pivot that a daemon had begun is finished by the next, also if the device model has forgotten the job', async () => {
  const { running, seen } = started({ domain: ref, jobs: [{ ...JOB, pivot: true }] }, undefined);
  await using _running = running;
  await running.resume();
  const found = running.of(ref, 'xvda');
  expect((await found?.ended)?.outcome).toBe('completed');
  expect([seen.finished, seen.moved]).toEqual([1, ['live /g.qcow2', 'persistent /g.qcow2']]);
});

test('a pivot to a copy moves both definitions to it; a copy that is cancelled once it is ready moves none', async () => {
  const target = { path: '/copy', format: 'raw' };
  const copy: BlockJob = {
    ...{ kind: 'copy', disk: 'xvda', source: top, target, left: [top], reuse: false },
    ...{ discard: 'unmap', synchronous: false, pivot: true },
  };
  const begun = started({ domain: ref, jobs: [copy] }, READY);
  await using _begun = begun.running;
  await begun.running.resume();
  expect((await begun.running.of(ref, 'xvda')?.ended)?.outcome).toBe('completed');
  expect(begun.seen.moved).toEqual(['live /copy', 'persistent /copy']);

  const { pivot: _pivot, ...waiting } = copy;
  const cancelled = started({ domain: ref, jobs: [waiting] }, READY, domain, { state: 'concluded', ...DONE });
  await using _cancelled = cancelled.running;
  await cancelled.running.resume();
  const found = cancelled.running.of(ref, 'xvda');
  if (!found) throw new Error('the job was not found');
  await cancelled.running.abort(found);
  expect((await found.ended).outcome).toBe('canceled');
  // It is closed, and nothing is moved.
  expect([cancelled.seen.finished, cancelled.seen.pivots]).toEqual([1, 0]);
});

test('a job that has gone, and one of another run of the domain, are not taken up: nothing is committed unasked', async () => {
  const gone = started({ domain: ref, jobs: [JOB] }, undefined);
  await gone.running.resume();
  const other = started({ domain: ref, jobs: [JOB] }, READY, { ...domain, ref: { ...ref, id: 5 } });
  await other.running.resume();
  for (const { running, seen } of [gone, other]) {
    await using _running = running;
    expect(running.of(ref, 'xvda')).toBeUndefined();
    expect([seen.finished, seen.moved]).toEqual([0, []]);
    expect(seen.records.at(-1)).toEqual({ domain: ref, jobs: [] });
  }
});

describe('nobody can say which jobs a domain has: its record stays, and its disks are left alone', () => {
  const unreadable = new LibvirtError('INTERNAL_ERROR', 'r.json was written by a newer xlsnap');
  const noAnswer = new LibvirtError('NO_CONNECT', 'libvirtd does not answer');

  test.each([
    [
      'the record cannot be read',
      { uuid: ref.uuid, error: unreadable },
      domain,
      'r.json was written by a newer xlsnap',
    ],
    ['the host does not answer', { domain: ref, jobs: [JOB] }, noAnswer, /does not answer; .*restart xlsnapd/],
  ])('%s', async (_what, recorded, now, reason) => {
    const { running, jobs, seen } = started(recorded, READY, now);
    await using _running = running;
    await running.resume();
    expect(seen.records).toEqual([recorded]);
    expect(seen.logged).toEqual([expect.stringMatching(reason)]);
    for (const refuse of [() => jobs.refuseBusyDisks(ref.uuid, ['xvdb']), () => jobs.refuseBlockJobs(ref.uuid)]) {
      expect(refuse).toThrow(/^Requested operation is not valid: nobody knows which block jobs the domain has: /);
      expect(refuse).toThrow(reason);
    }
    expect(() => jobs.refuseBlockJobs('22222222-1111-1111-1111-111111111111')).not.toThrow();
  });
});

test('a job whose monitor does not answer when the daemon starts is still there', async () => {
  const { running, jobs, seen } = started({ domain: ref, jobs: [JOB] }, new Error('the monitor is busy'));
  await using _running = running;
  await running.resume();
  expect(running.of(ref, 'xvda')?.state.state).toBe('running');
  expect(seen.records.at(-1)).toEqual({ domain: ref, jobs: [JOB] });
  expect(() => jobs.refuseBlockJobs(ref.uuid)).toThrow('domain has active block job');
});

test('a job that is aborted ends as canceled, one that fails says why', async () => {
  const { running, seen } = started({ domain: ref, jobs: [JOB] }, READY);
  await using _running = running;
  await running.resume();
  const found = running.of(ref, 'xvda');
  if (!found) throw new Error('the job was not found');
  await running.abort(found);
  expect((await found.ended).outcome).toBe('canceled');
  expect(seen.moved).toEqual([]);
  const concluded: BlockJobState = { ...READY, state: 'concluded', error: 'No space left on device' };
  const failing = started({ domain: ref, jobs: [JOB] }, concluded);
  await using _failing = failing.running;
  await failing.running.resume();
  await failing.running.of(ref, 'xvda')?.ended;
  expect(failing.seen.events).toEqual(['failed']);
  expect(failing.seen.logged.join()).toContain("block job on disk 'xvda' of domain 'g': No space left on device");
});

test('a job that the device model does not start leaves no record', async () => {
  const { running, seen } = started({ domain: ref, jobs: [] }, undefined);
  await using _running = running;
  // The devices of `started` cannot start anything.
  await expect(running.start(domain, JOB, 0)).rejects.toThrow(Error);
  expect(seen.records.at(-1)).toEqual({ domain: ref, jobs: [] });
  expect(running.of(ref, 'xvda')).toBeUndefined();
});
