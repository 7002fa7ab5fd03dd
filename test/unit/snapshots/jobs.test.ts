import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { explained, isLibvirtError, LibvirtError } from '../../../src/errors.ts';
import type { DomainRef } from '../../../src/model/domain.ts';
import { Jobs } from '../../../src/snapshots/jobs.ts';
import type { Journal } from '../../../src/snapshots/ports/journal.ts';

const G: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
const H: DomainRef = { name: 'h', uuid: '22222222-2222-2222-2222-222222222222', id: 4 };

/** Writes down what would be on disk, in order. */
function recording(): { readonly journal: Journal; readonly lines: string[] } {
  const lines: string[] = [];
  const journal: Journal = {
    begin: async ({ name }, { operation, snapshot }) => {
      lines.push(`${name} ${operation} ${snapshot}`);
      return {
        phase: async (phase) => void lines.push(`${name} ${phase}`),
        plan: async () => void lines.push(`${name} plan`),
        definition: async () => {},
        end: async () => void lines.push(`${name} end`),
      };
    },
    pending: async () => [],
    end: async () => {},
  };
  return { journal, lines };
}

const gate = () => {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
};

test('operations on one domain run one after the other, in the order they came', async () => {
  const { journal, lines } = recording();
  const jobs = new Jobs(journal);
  const { opened, open } = gate();
  const first = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, () => opened);
  const second = jobs.run(G, { operation: 'delete', snapshot: 's0', flags: 0 }, async () => {});
  await new Promise(setImmediate);
  expect(lines).toEqual(['g create s1']);
  open();
  await Promise.all([first, second]);
  expect(lines).toEqual(['g create s1', 'g end', 'g delete s0', 'g end']);
});

test('a phase and a plan are on disk before the work goes on', async () => {
  const { opened, open } = gate();
  const entry = { phase: () => opened, plan: () => opened, definition: async () => {}, end: async () => {} };
  const jobs = new Jobs({ begin: async () => entry, pending: async () => [], end: async () => {} });
  const done: string[] = [];
  const job = jobs.run(G, { operation: 'create', snapshot: 's', flags: 0 }, async ({ phase, plan }) => {
    await Promise.all([
      phase('disks').then(() => done.push('phase')),
      plan({ memory: false }).then(() => done.push('plan')),
    ]);
  });
  await new Promise(setImmediate);
  expect(jobs.active(G.uuid)?.phase).toBe('disks');
  expect(done).toEqual([]);
  open();
  await job;
  expect(done.sort()).toEqual(['phase', 'plan']);
});

test('the last job that has done its work is told once, unless it is to be kept', async () => {
  const jobs = new Jobs(recording().journal);
  const task = { operation: 'create', snapshot: 's', flags: 0 } as const;
  await jobs.run(G, task, async (job) => {
    await job.phase('saving');
    await delay(20);
    job.progress({ done: 2, total: 2 });
    await job.phase('metadata');
    job.paused(41);
  });
  await expect(jobs.run(G, task, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(jobs.completed(H.uuid, false)).toBeUndefined();
  const done = jobs.completed(G.uuid, true);
  expect(done).toMatchObject({ operation: 'create', progress: { done: 2, total: 2 }, pause: 41 });
  expect([...(done?.phases.keys() ?? [])]).toEqual(['begun', 'saving', 'metadata']);
  expect(done?.phases.get('saving')).toBeGreaterThanOrEqual(19);
  expect(done?.ended).toBeGreaterThanOrEqual(done?.started ?? Infinity);
  expect(jobs.completed(G.uuid, false)).toEqual(done);
  expect(jobs.completed(G.uuid, false)).toBeUndefined();
});

test('whoever listens hears of each phase, of progress, and of the end, good or bad', async () => {
  const jobs = new Jobs(recording().journal);
  const heard: string[] = [];
  jobs.onReport(({ name }, { operation, snapshot, phase, progress, ended }) => {
    heard.push(`${name} ${operation} ${snapshot} ${phase} ${progress?.done} ${ended}`);
  });
  await jobs.run(G, { operation: 'create', snapshot: 's', flags: 0 }, async (job) => {
    await job.phase('saving');
    job.progress({ done: 1, total: 2 });
  });
  const failing = jobs.run(H, { operation: 'delete', snapshot: 't', flags: 0 }, () => Promise.reject(new Error('no')));
  await expect(failing).rejects.toThrow('no');
  expect(heard).toEqual([
    'g create s saving undefined false',
    'g create s saving 1 false',
    'g create s completed 1 true',
    'h delete t failed undefined true',
  ]);
});

test('different domains do not wait for each other', async () => {
  const jobs = new Jobs(recording().journal);
  const { opened, open } = gate();
  const first = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, () => opened);
  await expect(jobs.run(H, { operation: 'create', snapshot: 's1', flags: 0 }, async () => 'done')).resolves.toBe(
    'done',
  );
  open();
  await first;
});

test('the journal has each phase before the work goes on, and the end also after a failure', async () => {
  const { journal, lines } = recording();
  const jobs = new Jobs(journal);
  const failing = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, async (job) => {
    await job.phase('saving');
    lines.push('suspending');
    throw new Error('broken');
  });
  await expect(failing).rejects.toThrow('broken');
  expect(lines).toEqual(['g create s1', 'g saving', 'suspending', 'g end']);
  expect(jobs.active(G.uuid)).toBeUndefined();
});

test('an operation that has lost the device model says how to go on, whatever was added to the error', async () => {
  const jobs = new Jobs(recording().journal);
  const lost = new LibvirtError('OPERATION_FAILED', 'no monitor', { reason: 'device-model-gone' });
  const run = jobs.run(G, { operation: 'delete', snapshot: 's', flags: 0 }, async () => {
    throw explained(lost, 'deleted in part');
  });
  await expect(run).rejects.toMatchObject({
    code: 'OPERATION_FAILED',
    detail:
      "no monitor (deleted in part) (domain 'g' has lost its device model: shut the guest off first: virsh destroy g)",
  });
});

test('a failed operation does not keep the next one from running', async () => {
  const jobs = new Jobs(recording().journal);
  await expect(
    jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, () => Promise.reject(new Error('broken'))),
  ).rejects.toThrow('broken');
  await expect(jobs.run(G, { operation: 'create', snapshot: 's2', flags: 0 }, async () => 's2')).resolves.toBe('s2');
});

test("who waits too long gets libvirt's lock error, and whoever waits behind still gets a turn", async () => {
  const jobs = new Jobs(recording().journal, 20);
  const { opened, open } = gate();
  const first = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, () => opened);
  const second = jobs.run(G, { operation: 'revert', snapshot: 's0', flags: 0 }, async () => {});
  const refused = await second.catch((error: unknown) => error);
  expect(isLibvirtError(refused, 'OPERATION_TIMEOUT')).toBe(true);
  expect((refused as Error).message).toBe(
    "Timed out during operation: cannot acquire state change lock on domain 'g' (held by create of snapshot 's1')",
  );
  const ended: string[] = [];
  const third = jobs.run(G, { operation: 'delete', snapshot: 's0', flags: 0 }, async () => ended.push('third'));
  await new Promise(setImmediate);
  expect(ended).toEqual([]);
  open();
  await Promise.all([first, third]);
  expect(ended).toEqual(['third']);
});

describe('a running job', () => {
  test('shows its phase and progress', async () => {
    const jobs = new Jobs(recording().journal);
    const { opened, open } = gate();
    const running = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, async (job) => {
      await job.phase('saving');
      job.progress({ done: 5, total: 10 });
      await opened;
    });
    await new Promise(setImmediate);
    expect(jobs.active(G.uuid)).toMatchObject({
      operation: 'create',
      snapshot: 's1',
      phase: 'saving',
      progress: { done: 5, total: 10 },
    });
    open();
    await running;
  });

  test('is cancelled through its signal, with the reason', async () => {
    const jobs = new Jobs(recording().journal);
    const running = jobs.run(
      G,
      { operation: 'create', snapshot: 's1', flags: 0 },
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    );
    await new Promise(setImmediate);
    jobs.active(G.uuid)?.cancel();
    await expect(running).rejects.toThrow("operation aborted: job 'snapshot' canceled by client");
  });

  test('can be cancelled up to its point of no return, and is refused to be from there on', async () => {
    const jobs = new Jobs(recording().journal);
    const { opened, open } = gate();
    const early = jobs.run(G, { operation: 'revert', snapshot: 's1', flags: 0 }, async (job) => {
      await opened;
      job.commit();
    });
    await new Promise(setImmediate);
    jobs.active(G.uuid)?.cancel();
    open();
    await expect(early).rejects.toThrow("operation aborted: job 'snapshot revert' canceled by client");
    const late = gate();
    const running = jobs.run(G, { operation: 'revert', snapshot: 's1', flags: 0 }, async (job) => {
      job.commit();
      await late.opened;
      return job.signal.aborted;
    });
    await new Promise(setImmediate);
    expect(() => jobs.active(G.uuid)?.cancel()).toThrow(
      "Requested operation is not valid: cannot abort job 'snapshot revert' of domain 'g': the revert of 's1' has gone too far",
    );
    late.open();
    await expect(running).resolves.toBe(false);
  });

  test('is cancelled and waited for when the daemon stops', async () => {
    const { journal, lines } = recording();
    const jobs = new Jobs(journal);
    const running = jobs
      .run(
        G,
        { operation: 'create', snapshot: 's1', flags: 0 },
        ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
      )
      .then(() => lines.push('finished'));
    await new Promise(setImmediate);
    await jobs[Symbol.asyncDispose]();
    await running;
    expect(lines).toEqual(['g create s1', 'g end', 'finished']);
  });
});

test('a job whose record is still being written when the daemon stops is cancelled, too', async () => {
  const { journal } = recording();
  const { opened, open } = gate();
  const jobs = new Jobs({ ...journal, begin: (domain, task) => opened.then(() => journal.begin(domain, task)) });
  const running = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, async ({ signal }) => signal.reason);
  await new Promise(setImmediate);
  const stopped = jobs[Symbol.asyncDispose]();
  open();
  await stopped;
  await expect(running).resolves.toMatchObject({ code: 'OPERATION_ABORTED' });
});

test('what is done exclusively waits its turn, and is no job to others and no record', async () => {
  const { journal, lines } = recording();
  const jobs = new Jobs(journal);
  const { opened, open } = gate();
  const first = jobs.run(G, { operation: 'create', snapshot: 's1', flags: 0 }, () => opened);
  let active: unknown = 'not yet';
  const second = jobs.exclusive(G, async () => {
    active = jobs.active(G.uuid);
  });
  await new Promise(setImmediate);
  expect(active).toBe('not yet');
  open();
  await Promise.all([first, second]);
  expect(active).toBeUndefined();
  expect(lines).toEqual(['g create s1', 'g end']);
});

test('what still waits when the daemon stops is refused, and nothing of it is done', async () => {
  const { journal, lines } = recording();
  const jobs = new Jobs(journal);
  const running = jobs.run(
    G,
    { operation: 'create', snapshot: 's1', flags: 0 },
    ({ signal }) => new Promise((ended) => signal.addEventListener('abort', ended)),
  );
  const waiting = jobs
    .run(G, { operation: 'create', snapshot: 's2', flags: 0 }, async () => lines.push('done'))
    .catch((error: unknown) => error);
  await new Promise(setImmediate);
  await jobs[Symbol.asyncDispose]();
  await running;
  expect(isLibvirtError(await waiting, 'OPERATION_ABORTED')).toBe(true);
  expect(lines).toEqual(['g create s1', 'g end']);
});
