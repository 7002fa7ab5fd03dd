import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { runLongProgram, runProgram } from '../../../src/disks/program.ts';

const SHELL = { name: 'sh', debianPackage: 'dash' };

test.each([
  ['echo it has failed >&2; exit 3', 'sh', 'it has failed'],
  ['kill -9 $$', 'sh', 'sh was ended by SIGKILL'],
  ['exit 7', 'sh', 'sh failed with status 7'],
  ['exec cat /dev/zero', 'sh', 'sh prints more than 64 MiB'],
  ['', 'no-such-program', "'no-such-program' is not installed (Debian package dash)"],
])('the error of "%s" by %s gives the reason', async (script, name, reason) => {
  const failing = runProgram({ ...SHELL, name }, ['-c', script], "cannot read image '/d/a'");
  await expect(failing).rejects.toThrow(`operation failed: cannot read image '/d/a': ${reason}`);
});

test('returns what a program prints', async () => {
  await expect(runProgram(SHELL, ['-c', 'echo whole'], 'cannot')).resolves.toBe('whole\n');
});

test('a program has nothing to read', async () => {
  await expect(runProgram(SHELL, ['-c', 'cat; echo ended'], 'cannot')).resolves.toBe('ended\n');
});

test('the error keeps exit status and output', async () => {
  const error = await runProgram(SHELL, ['-c', 'echo report; exit 3'], 'cannot').catch((reason: unknown) => reason);
  expect(error).toMatchObject({ cause: { code: 3, signal: null, stdout: 'report\n' } });
});

/** Each prints its process id, and touches $READY when it can be stopped. */
const STUBBORN = {
  'a program that ignores SIGTERM': "trap '' TERM; echo $$; touch $READY; while :; do sleep 0.1; done",
  'a program that a child of its own outlives': "trap '' TERM; sleep 70 & echo $$; touch $READY; wait",
  'a program that exits with 0 on SIGTERM': "trap 'exit 0' TERM; echo $$; touch $READY; while :; do sleep 0.1; done",
};

describe.each(Object.entries(STUBBORN))('%s', (_, script) => {
  let folder: string;
  let ready: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xlsnap-program-'));
    ready = join(folder, 'ready');
    // Only the timers of the module: the five minutes and the five seconds pass when the test wants them to.
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'Date', 'performance'] });
  });

  afterEach(async () => {
    jest.useRealTimers();
    await rm(folder, { recursive: true, force: true });
  });

  const isReady = async () => {
    for (;;) {
      await sleep(20);
      if (
        await access(ready).then(
          () => true,
          () => false,
        )
      )
        return;
    }
  };

  /** The process may only just have been killed, and nobody may have asked for its exit code yet (state Z). */
  const isGone = async (pid: number) => {
    for (let tries = 0; tries < 100; tries++, await sleep(20)) {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
      if (stat === undefined || /\) [ZX] /.test(stat)) return true;
    }
    return false;
  };

  test('is gone after the time limit, and has failed', async () => {
    const running = runProgram(SHELL, ['-c', `READY='${ready}'; ${script}`], 'cannot merge').catch((error) => error);
    await isReady();
    jest.advanceTimersByTime(300_000);
    await sleep(300);
    jest.advanceTimersByTime(5_000);
    const error = await running;
    expect(error).toMatchObject({ code: 'OPERATION_FAILED', detail: 'cannot merge: sh took longer than 300 seconds' });
    expect(await isGone(Number(error.cause.stdout))).toBe(true);
  });

  test('is gone after a cancellation, which is the error', async () => {
    const controller = new AbortController();
    let printed = '';
    const running = runLongProgram(SHELL, ['-c', `READY='${ready}'; ${script}`], 'cannot merge', {
      signal: controller.signal,
      output: (text) => {
        printed += text;
      },
    }).catch((error) => error);
    await isReady();
    controller.abort();
    await sleep(300);
    jest.advanceTimersByTime(5_000);
    expect(await running).toMatchObject({ code: 'OPERATION_ABORTED' });
    expect(await isGone(Number(printed))).toBe(true);
  });
});

test('a program that keeps SIGTERM for itself has the grace to end in order', async () => {
  const controller = new AbortController();
  let printed = '';
  const script = "trap 'sleep 0.3; echo tidied > $0.done; exit 1' TERM; echo ready; while :; do sleep 0.1; done";
  const folder = await mkdtemp(join(tmpdir(), 'xlsnap-program-'));
  const running = runLongProgram(SHELL, ['-c', script, join(folder, 'program')], 'cannot', {
    signal: controller.signal,
    output: (text) => {
      printed += text;
      controller.abort();
    },
  });
  await expect(running).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
  expect(printed).toBe('ready\n');
  await access(join(folder, 'program.done'));
  await rm(folder, { recursive: true });
});

test('a program that does not begin is ended, one that has begun is not', async () => {
  const began = runLongProgram(SHELL, ['-c', 'echo; sleep 0.5'], 'cannot', { beginMs: 300 });
  const waits = runLongProgram(SHELL, ['-c', 'sleep 60'], 'cannot', { beginMs: 300 });
  await expect(waits).rejects.toThrow('sh had not begun after 0.3 seconds');
  await began;
});

test('nothing is started for a signal that is aborted already', async () => {
  const started = runLongProgram(SHELL, ['-c', 'echo'], 'cannot', { signal: AbortSignal.abort() });
  await expect(started).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
});
