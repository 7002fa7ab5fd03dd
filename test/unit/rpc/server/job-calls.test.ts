import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { jobAnswers, jobInfo, jobStats } from '../../../../src/rpc/server/job-calls.ts';
import { LifecycleHub } from '../../../../src/rpc/server/lifecycle-hub.ts';
import { nothing } from '../../../../src/rpc/wire/codec.ts';
import { decodeHeader, decodePayload, encodeFrame, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { remoteError } from '../../../../src/rpc/wire/messages.ts';
import { PROCEDURES as P, type Procedure } from '../../../../src/rpc/wire/procedures.ts';
import type { ActiveJob } from '../../../../src/snapshots/api.ts';
import { MemoryDomains } from '../../../support/fakes/domains-in-memory.ts';
import { MemorySnapshots } from '../../../support/fakes/snapshots-in-memory.ts';

const MIB = 1 << 20;

function running(job: Partial<ActiveJob> = {}): ActiveJob & { readonly cancelled: () => boolean } {
  let cancelled = false;
  return {
    operation: 'create',
    snapshot: 's1',
    started: Date.now() - 1_500,
    phase: 'saving',
    progress: { done: 3 * MIB, total: 10 * MIB },
    cancel: () => {
      cancelled = true;
    },
    cancelled: () => cancelled,
    ...job,
  };
}

describe('a running job', () => {
  test('shows its time and its bytes', () => {
    const info = jobInfo(running());
    expect(info).toMatchObject({ type: 2, memTotal: 10n << 20n, memProcessed: 3n << 20n, memRemaining: 7n << 20n });
    expect(info).toMatchObject({ dataTotal: 10n << 20n, dataProcessed: 3n << 20n, dataRemaining: 7n << 20n });
    expect(info).toMatchObject({ timeRemaining: 0n, fileTotal: 0n, fileProcessed: 0n, fileRemaining: 0n });
    expect(info.timeElapsed).toBeGreaterThanOrEqual(1_500n);
    expect(info.timeElapsed).toBeLessThan(10_000n);
  });

  test('says the same as parameters, with what it is', () => {
    const { type, params } = jobStats(running());
    expect(type).toBe(2);
    expect(params.map(({ field, type }) => `${field} ${type}`)).toEqual([
      'operation int',
      'time_elapsed ullong',
      'data_total ullong',
      'data_processed ullong',
      'data_remaining ullong',
      'memory_total ullong',
      'memory_processed ullong',
      'memory_remaining ullong',
    ]);
    expect(params[0]?.value).toBe(6);
    expect(params.at(-1)?.value).toBe(7n << 20n);
  });

  test.each([
    ['create', 6],
    ['redefine', 6],
    ['revert', 7],
    ['delete', 10],
  ] as const)('%s is libvirt’s operation %i', (operation, number) => {
    expect(jobStats(running({ operation })).params[0]).toEqual({ field: 'operation', type: 'int', value: number });
  });

  test('without bytes to count shows its time only', () => {
    const job = running({ progress: undefined, started: Date.now() + 60_000 });
    expect(jobInfo(job)).toMatchObject({ type: 2, timeElapsed: 0n, memTotal: 0n, dataTotal: 0n });
    expect(jobStats(job).params.map(({ field }) => field)).toEqual(['operation', 'time_elapsed']);
  });

  test('that has written more than was estimated has nothing left, not less than nothing', () => {
    const info = jobInfo(running({ progress: { done: 11 * MIB, total: 10 * MIB } }));
    expect(info).toMatchObject({ memTotal: 11n << 20n, memProcessed: 11n << 20n, memRemaining: 0n });
  });
});

describe('the calls, where the domains are ours', () => {
  async function scene() {
    const hub = new LifecycleHub();
    const domains = new MemoryDomains(hub);
    const snapshots = new MemorySnapshots(hub);
    const defined = await domains.define('<name>test</name>');
    const answers = jobAnswers(domains, snapshots);
    const reply = async <A, R>(procedure: Procedure<A, R>, args: A, readOnly: boolean): Promise<Buffer> => {
      const frame = encodeFrame({ procedure: procedure.number, type: TYPE.CALL, serial: 3 }, procedure.args, args);
      const bytes = await answers.get(procedure.number)?.reply(decodeHeader(frame), frame, readOnly);
      if (!bytes) throw new LibvirtError('INTERNAL_ERROR', `procedure ${procedure.number} is not answered`);
      return bytes;
    };
    return {
      domains,
      defined,
      jobs: snapshots.jobs,
      completed: snapshots.completed,
      call: async <A, R>(procedure: Procedure<A, R>, args: A, readOnly = false): Promise<R> => {
        const bytes = await reply(procedure, args, readOnly);
        expect(decodeHeader(bytes).status).toBe(STATUS.OK);
        return decodePayload(procedure.result, bytes);
      },
      error: async <A, R>(procedure: Procedure<A, R>, args: A, readOnly = false) => {
        const bytes = await reply({ ...procedure, result: nothing }, args, readOnly);
        expect(decodeHeader(bytes).status).toBe(STATUS.ERROR);
        return decodePayload(remoteError, bytes);
      },
    };
  }

  test('a domain without a job has none to show and none to abort', async () => {
    const { domains, defined, call, error } = await scene();
    const domain = await domains.create(defined, { paused: false });
    expect(await call(P.DOMAIN_GET_JOB_INFO, { domain })).toEqual(jobInfo(undefined));
    expect(await call(P.DOMAIN_GET_JOB_STATS, { domain, flags: 0 })).toEqual({ type: 0, params: [] });
    expect(await error(P.DOMAIN_ABORT_JOB, { domain })).toMatchObject({
      code: 55,
      str2: 'no job is active on the domain',
    });
    expect(await error(P.DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 0 })).toMatchObject({
      code: 55,
      str2: 'no job is active on the domain',
    });
  });

  test('a domain that is shut off is refused, unless its disks are at work', async () => {
    const { jobs, defined, call, error } = await scene();
    const refusal = { code: 55, str2: 'domain is not running' };
    expect(await error(P.DOMAIN_GET_JOB_INFO, { domain: defined })).toMatchObject(refusal);
    expect(await error(P.DOMAIN_GET_JOB_STATS, { domain: defined, flags: 0 })).toMatchObject(refusal);
    expect(await error(P.DOMAIN_ABORT_JOB, { domain: defined })).toMatchObject(refusal);
    jobs.set(defined.uuid, running({ progress: undefined }));
    expect((await call(P.DOMAIN_GET_JOB_INFO, { domain: defined })).type).toBe(2);
  });

  test('a job that is done is told once, unless it is to be kept, with the time that the guest stood', async () => {
    const { completed, domains, defined, call } = await scene();
    const domain = await domains.create(defined, { paused: false });
    const { operation, started, progress } = running();
    const phases = new Map([
      ['saving', 800.4],
      ['disks-done', 99.6],
    ]);
    completed.set(domain.uuid, { operation, started, progress, ended: started + 900, pause: 41.4, phases });
    const stats = (flags: number) => call(P.DOMAIN_GET_JOB_STATS, { domain, flags });
    const done = await stats(3);
    expect(done.type).toBe(3);
    expect(done.params.slice(0, 3)).toEqual([
      { field: 'operation', type: 'int', value: 6 },
      { field: 'time_elapsed', type: 'ullong', value: 900n },
      { field: 'downtime', type: 'ullong', value: 41n },
    ]);
    expect(done.params.slice(-3)).toEqual([
      { field: 'memory_remaining', type: 'ullong', value: 7n << 20n },
      { field: 'saving_time', type: 'ullong', value: 800n },
      { field: 'disks_done_time', type: 'ullong', value: 100n },
    ]);
    expect(await stats(0)).toEqual({ type: 0, params: [] });
    expect(await stats(1)).toEqual(done);
    expect(await stats(1)).toEqual({ type: 0, params: [] });
  });

  test('a job is shown to everybody, and aborted on request', async () => {
    const { jobs, defined, call } = await scene();
    const job = running();
    jobs.set(defined.uuid, job);
    const stats = await call(P.DOMAIN_GET_JOB_STATS, { domain: defined, flags: 0 }, true);
    expect(stats).toMatchObject({
      type: 2,
      params: [{ field: 'operation', type: 'int', value: 6 }, {}, {}, {}, {}, {}, {}, {}],
    });
    expect(job.cancelled()).toBe(false);
    await call(P.DOMAIN_ABORT_JOB, { domain: defined });
    expect(job.cancelled()).toBe(true);
  });

  test('it is aborted by virDomainAbortJobFlags as well, but is no migration in post-copy mode', async () => {
    const { jobs, defined, call, error } = await scene();
    const job = running();
    jobs.set(defined.uuid, job);
    const refused = (flags: number) => error(P.DOMAIN_ABORT_JOB_FLAGS, { domain: defined, flags });
    const postcopy = 'current job is not outgoing migration in post-copy mode';
    expect(await refused(1)).toMatchObject({ code: 55, str2: postcopy });
    expect(await refused(2)).toMatchObject({ code: 8 });
    expect(job.cancelled()).toBe(false);
    await call(P.DOMAIN_ABORT_JOB_FLAGS, { domain: defined, flags: 0 });
    expect(job.cancelled()).toBe(true);
  });

  test('what runs now is not what was done before; what no flag is, is refused', async () => {
    const { jobs, defined, call, error } = await scene();
    jobs.set(defined.uuid, running());
    expect(await call(P.DOMAIN_GET_JOB_STATS, { domain: defined, flags: 1 })).toEqual({ type: 0, params: [] });
    expect(await error(P.DOMAIN_GET_JOB_STATS, { domain: defined, flags: 4 })).toMatchObject({
      code: 8,
      str2: 'flags',
    });
  });

  test('a domain that is not there is an error', async () => {
    const { error } = await scene();
    const domain = { name: 'none', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
    expect(await error(P.DOMAIN_GET_JOB_INFO, { domain })).toMatchObject({ code: 42 });
  });
});
