/**
 * Jobs through the front door: a snapshot under way is shown by `virsh domjobinfo` and taken back by `virsh domjobabort`.
 * What holds it up is real: its device model, a qemu-storage-daemon, is stopped while the memory is being written.
 */

import { execFile } from 'node:child_process';
import { watch } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import type { Ran } from '../support/virsh.ts';

const ABORT =
  'import libvirt, sys; libvirt.open(sys.argv[1]).lookupByName("test").abortJobFlags(getattr(libvirt, sys.argv[2], 0))';
const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
/** The device model may be too quick to be caught; then the snapshot is there and is taken again. */
const ATTEMPTS = 20;

let host: Xlsnapd;
let deviceModel: number;

const memory = () => join(host.home, 'memory', UUID);

beforeAll(async () => {
  host = await Xlsnapd.start();
  await host.ok('snapshot-create-as', 'test', 'kept');
  const files = await readdir(join(host.home, 'state'), { recursive: true });
  const [pidFile = ''] = files.filter((file) => /\d\.pid$/.test(file));
  deviceModel = Number(await readFile(join(host.home, 'state', pidFile), 'utf8'));
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
});

/** A create of `s1` that stands in the middle: memory is being written, the disks are not done. */
async function caught(): Promise<{ readonly create: Promise<Ran> }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const watcher = watch(memory(), () => process.kill(deviceModel, 'SIGSTOP'));
    const ended = new AbortController();
    const create = host.virsh('snapshot-create-as', 'test', 's1').finally(() => ended.abort());
    const outcome = await Promise.race([create, jobWithMemory(ended.signal)]);
    watcher.close();
    if (outcome === 'caught') return { create };
    process.kill(deviceModel, 'SIGCONT');
    await create;
    await host.ok('snapshot-delete', 'test', 's1');
  }
  throw new Error('the device model was never caught');
}

/** Resolves once the job has memory to show, or has ended. */
async function jobWithMemory(ended: AbortSignal): Promise<'caught' | undefined> {
  while (!ended.aborted) {
    if ((await host.ok('domjobinfo', 'test')).includes('Memory remaining: 0.000')) return 'caught';
    await delay(20);
  }
  return undefined;
}

test('a domain at rest has no job, but for one that is done, which is told once', async () => {
  const done = await host.ok('domjobinfo', 'test', '--completed');
  expect(done).toMatch(/^Job type:\s+Completed\s*\nOperation:\s+Snapshot\s*\nTime elapsed:\s+\d+\s+ms/);
  expect(done).toMatch(/Memory processed:\s+4\.000 MiB/);
  expect(done).toMatch(/Total downtime:\s+\d+\s+ms/);
  expect(await host.ok('domjobinfo', 'test', '--completed')).toMatch(/^Job type:\s+None$/);
  expect(await host.ok('domjobinfo', 'test')).toMatch(/^Job type:\s+None$/);
  expect(await host.refused('domjobabort', 'test')).toContain(
    'Requested operation is not valid: no job is active on the domain',
  );
});

test('a snapshot under way shows what it has written, and is taken back whole when it is aborted', async () => {
  const { create } = await caught();
  try {
    const info = await host.ok('domjobinfo', 'test');
    expect(info).toMatch(/^Job type:\s+Unbounded\s*\nOperation:\s+Snapshot\s*\nTime elapsed:\s+\d+\s+ms/);
    expect(info).toMatch(/Memory processed:\s+4\.000 MiB\nMemory remaining:\s+0\.000 B\nMemory total:\s+4\.000 MiB/);
    await host.ok('domjobabort', 'test');
  } finally {
    process.kill(deviceModel, 'SIGCONT');
  }
  expect((await create).stderr).toBe("error: operation aborted: job 'snapshot' canceled by client");
  expect(await host.ok('snapshot-list', 'test', '--name')).toBe('kept');
  expect(await readdir(memory())).toEqual(['kept.save']);
  expect(await readdir(join(host.home, 'state/journal'))).toEqual([]);
  const image = join(host.home, 'state/test.qcow2');
  const { stdout } = await promisify(execFile)('qemu-img', ['snapshot', '-U', '-l', image]);
  expect(stdout).toContain('kept');
  expect(stdout).not.toContain('s1');
  expect(await host.ok('domstate', 'test')).toBe('running');
  expect(await host.ok('domjobinfo', 'test')).toMatch(/^Job type:\s+None$/);
  expect(await host.ok('snapshot-create-as', 'test', 's1')).toBe('Domain snapshot s1 created');
}, 60_000);

/** Runs virsh while the device model stands still; `meanwhile` is called once the job is there. */
async function stopped(args: readonly string[], meanwhile: () => Promise<void>): Promise<Ran> {
  process.kill(deviceModel, 'SIGSTOP');
  const running = host.virsh(...args);
  try {
    while ((await host.ok('domjobinfo', 'test')).endsWith('None')) await delay(20);
    await meanwhile();
  } finally {
    process.kill(deviceModel, 'SIGCONT');
  }
  return await running;
}

/** virDomainAbortJobFlags, which virsh calls for migrations only. */
const abortFlags = (flag = '') => promisify(execFile)('/usr/bin/python3', ['-c', ABORT, host.uri, flag]);

test('a delete of several that is aborted keeps whole what it has not come to; the last one is carried out', async () => {
  for (const name of ['s2', 's3']) await host.ok('snapshot-create-as', 'test', name);
  const several = ['snapshot-delete', 'test', 'kept', '--children-only'];
  const aborted = await stopped(several, async () => {
    const postcopy = abortFlags('VIR_DOMAIN_ABORT_JOB_POSTCOPY');
    await expect(postcopy).rejects.toThrow('current job is not outgoing migration in post-copy mode');
    await abortFlags();
  });
  const gone = Number(
    /canceled by client \((\d) of 3 snapshots of domain 'test' are deleted; the others are as they were\)$/.exec(
      aborted.stderr,
    )?.[1],
  );
  expect(gone).toBeLessThan(2);
  const left = ['kept', 's1', 's2', 's3'].slice(0, 4 - gone);
  expect((await host.ok('snapshot-list', 'test', '--name')).split('\n')).toEqual(left);
  expect((await readdir(memory())).sort()).toEqual(left.map((name) => `${name}.save`));
  for (const name of left.slice(2)) await host.ok('snapshot-delete', 'test', name);
  const last = await stopped(['snapshot-delete', 'test', 's1'], async () => {
    // Until it has come so far.
    await delay(500);
    expect(await host.refused('domjobabort', 'test')).toContain(
      "cannot abort job 'snapshot delete' of domain 'test': the delete of 's1' has gone too far",
    );
  });
  expect(last).toMatchObject({ status: 0, stderr: '' });
  expect(await host.ok('snapshot-list', 'test', '--name')).toBe('kept');
}, 60_000);

test('a revert says how long the guest was stopped', async () => {
  await host.ok('snapshot-revert', 'test', 'kept');
  const done = await host.ok('domjobinfo', 'test', '--completed');
  expect(done).toMatch(/^Job type:\s+Completed\s*\nOperation:\s+Snapshot revert\s*\nTime elapsed:\s+\d+\s+ms/);
  expect(done).toMatch(/Total downtime:\s+[1-9]\d*\s+ms/);
});
