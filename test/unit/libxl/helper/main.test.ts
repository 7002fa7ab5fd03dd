/** The real helper process, on a machine without Xen: what it says, how it ends. Its work is the lab's to test. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from '@jest/globals';
import { LibxlHelper } from '../../../../src/libxl/helper/client.ts';
import { describeUnless } from '../../../support/describe-unless.ts';

const ROOT = resolve(import.meta.dirname, '../../../..');
const HELPER = join(ROOT, 'dist/libxl/helper/main.js');
const PARENT = `
  import { LibxlHelper } from ${JSON.stringify(join(ROOT, 'dist/libxl/helper/client.js'))};
  const helper = LibxlHelper.start();
  await helper.probe();
  console.log('ready');
  setInterval(() => {}, 1000);
`;

beforeAll(async () => {
  // The helper runs compiled. Errors of other rooms are not this test's.
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: ROOT }).catch(() => {});
  expect(existsSync(HELPER)).toBe(true);
}, 60_000);

/** Pids of the helpers that `parent` has forked. */
function helpersOf(parent: number): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const [, ppid] = readFileSync(`/proc/${pid}/stat`, 'latin1')
          .replace(/^.*\) /s, '')
          .split(' ');
        return Number(ppid) === parent && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(HELPER);
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function gone(pid: number): Promise<boolean> {
  for (let i = 0; i < 200 && existsSync(`/proc/${pid}`); i++) await sleep(25);
  return !existsSync(`/proc/${pid}`);
}

const xen = existsSync('/proc/xen/capabilities') ? "this host has Xen, and the lab's tests are about that" : undefined;

describeUnless(xen, 'without a hypervisor', () => {
  test('the probe says which library was found, and what of Xen could not be opened', async () => {
    await using helper = LibxlHelper.start();
    const probe = await helper.probe();
    expect(probe).toMatchObject({ state: 'no-xen', soname: expect.stringMatching(/^libxenlight\.so\.4\.\d+$/) });
    expect(probe).toMatchObject({ message: expect.stringContaining('this must be the Domain-0 of a running Xen') });
    expect(probe).toMatchObject({ message: expect.stringContaining('privileged command interface') });
  });

  test('an operation fails with the same words', async () => {
    await using helper = LibxlHelper.start();
    await expect(helper.domainInfo(5)).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
      detail: expect.stringMatching(/^libxl_domain_info failed for domain '5': libxenlight\.so\.\S+ cannot reach Xen/),
    });
  });
});

test('calls made at once are answered one after the other', async () => {
  await using helper = LibxlHelper.start();
  const states = await Promise.all([helper.probe(), helper.probe(), helper.probe()]);
  expect(new Set(states.map(({ state }) => state)).size).toBe(1);
});

test('a call that is cancelled beforehand is not made', async () => {
  await using helper = LibxlHelper.start();
  const suspend = helper.suspend(5, { path: '/nowhere', id: '0:0' }, false, { signal: AbortSignal.abort() });
  await expect(suspend).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
});

test('disposing ends the process, used or not', async () => {
  for (const use of [true, false]) {
    const helper = LibxlHelper.start();
    const [pid] = helpersOf(process.pid);
    if (use) await helper.probe();
    await helper[Symbol.asyncDispose]();
    expect(pid).toBeGreaterThan(0);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  }
});

test('a helper that was killed is an error that says so, for the call under way and for later ones', async () => {
  await using helper = LibxlHelper.start();
  const [pid] = helpersOf(process.pid);
  const call = helper.probe();
  process.kill(pid as number, 'SIGKILL');
  await expect(call).rejects.toMatchObject({
    code: 'INTERNAL_ERROR',
    detail: 'Failed to start libxenlight: the libxl helper process ended (SIGKILL)',
  });
  await expect(helper.domainInfo(5)).rejects.toThrow('the libxl helper process ended (SIGKILL)');
});

test('it lives in a session of its own, where the terminal’s signals do not reach it', async () => {
  await using helper = LibxlHelper.start();
  const [pid] = helpersOf(process.pid);
  await helper.probe();
  const session = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')[3];
  expect(Number(session)).toBe(pid);
});

test.each(['SIGKILL', 'SIGTERM'] as const)('it ends when its parent is gone by %s', async (signal) => {
  const parent = spawn(process.execPath, ['--input-type=module', '-e', PARENT], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  await once(parent.stdout, 'data');
  const [pid] = helpersOf(parent.pid as number);
  expect(pid).toBeGreaterThan(0);
  parent.kill(signal);
  await once(parent, 'exit');
  expect(await gone(pid as number)).toBe(true);
});
