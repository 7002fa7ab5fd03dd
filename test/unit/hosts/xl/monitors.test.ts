/** The monitors of guests are stopped while a guest is suspended, and always continued. The processes here are real. */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { Monitors } from '../../../../src/hosts/xl/monitors.ts';
import { refusal } from '../../../support/refusal.ts';
import { until } from '../../../support/until.ts';

const DOMID = 31_000;

let folder: string;
let monitors: Monitors;
let started: ChildProcess[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'monitors-'));
  monitors = new Monitors(folder);
  started = [];
  await copyFile('/bin/sleep', join(folder, 'xl'));
});

afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

/** A program of this name, whose log says that it waits for a domain, as xl does. */
async function monitor({ program = 'xl', log = 'xl-vm.log', domid = DOMID } = {}): Promise<number> {
  const path = join(folder, log);
  await using file = await open(path, 'a');
  if (program !== 'xl') await copyFile('/bin/sleep', join(folder, program));
  const child = spawn(join(folder, program), ['60'], { stdio: ['ignore', file.fd, 'ignore'] });
  started.push(child);
  const pid = child.pid as number;
  await until(async () => (await readFile(`/proc/${pid}/cmdline`, 'utf8')).startsWith(folder));
  await appendFile(path, `Waiting for domain vm (domid ${domid}) to die [pid ${pid}]\n`);
  return pid;
}

const stateOf = async (pid: number) => /\) (\w)/.exec(await readFile(`/proc/${pid}/stat`, 'latin1'))?.[1];
const records = async () => await readdir(join(folder, 'held-monitors'));

test('the monitor of a domain is stopped while it is held, and only then', async () => {
  const pid = await monitor();
  const other = await monitor({ log: 'xl-other.log', domid: DOMID + 1 });
  {
    await using held = await monitors.hold(DOMID);
    expect(held).toBeDefined();
    expect(await stateOf(pid)).toBe('T');
    expect(await stateOf(other)).toBe('S');
    expect(await records()).toEqual([String(pid)]);
  }
  await until(async () => (await stateOf(pid)) === 'S');
  expect(await records()).toEqual([]);
});

test('it is found after a reboot of its guest, and if its log was renamed', async () => {
  const pid = await monitor({ domid: DOMID - 1 });
  await appendFile(join(folder, 'xl-vm.log'), `Waiting for domain vm (domid ${DOMID}) to die [pid ${pid}]\n`);
  await rename(join(folder, 'xl-vm.log'), join(folder, 'xl-vm.log.1'));
  expect(await monitors.find(DOMID)).toMatchObject({ pid });
  expect(await monitors.find(DOMID - 1)).toBeUndefined();
});

test('the log may say what another process waits for: an earlier monitor, of a guest of the same name', async () => {
  const pid = await monitor();
  await appendFile(join(folder, 'xl-vm.log'), `Waiting for domain vm (domid ${DOMID + 1}) to die [pid ${pid + 1}]\n`);
  expect(await monitors.find(DOMID)).toMatchObject({ pid });
  expect(await monitors.find(DOMID + 1)).toBeUndefined();
});

test('one that ends while it is to be stopped is in nobody’s way', async () => {
  // No process has such a number.
  const pid = 2 ** 22 + 1;
  const proc = join(folder, 'proc');
  await mkdir(join(proc, String(pid), 'fd'), { recursive: true });
  await symlink(join(folder, 'xl'), join(proc, `${pid}/exe`));
  await symlink(join(folder, 'xl-vm.log'), join(proc, `${pid}/fd/1`));
  await writeFile(join(folder, 'xl-vm.log'), `Waiting for domain vm (domid ${DOMID}) to die [pid ${pid}]\n`);
  const shows = (state: string) => writeFile(join(proc, `${pid}/stat`), `${pid} (xl) ${state}${' 1'.repeat(30)}`);
  await shows('T');
  const held = await new Monitors(folder, proc).hold(DOMID);
  await held?.[Symbol.asyncDispose]();
  expect(held).toBeDefined();
  expect(await records()).toEqual([]);
  await shows('Z');
  expect(await new Monitors(folder, proc).hold(DOMID)).toBeUndefined();
});

test('one that does not stop is continued, and the guest is not suspended', async () => {
  const pid = await monitor();
  const proc = join(folder, 'proc');
  await mkdir(join(proc, String(pid), 'fd'), { recursive: true });
  for (const link of ['exe', 'fd/1'])
    await symlink(await readlink(`/proc/${pid}/${link}`), join(proc, `${pid}/${link}`));
  // It never shows that it has stopped.
  await writeFile(join(proc, `${pid}/stat`), await readFile(`/proc/${pid}/stat`));
  let now = performance.now();
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => {
    now += 1_000;
    return now;
  });
  const { code, message } = await refusal(new Monitors(folder, proc).hold(DOMID));
  clock.mockRestore();
  expect(code).toBe('OPERATION_TIMEOUT');
  expect(message).toContain(`process ${pid}, does not stop`);
  await until(async () => (await stateOf(pid)) === 'S');
  expect(await records()).toEqual([]);
});

test.each([
  ['another program', { program: 'sleep' }],
  ['a program of xl that has another log', { log: 'vm.log' }],
])('%s is no monitor', async (_, what) => {
  await monitor(what);
  expect(await monitors.hold(DOMID)).toBeUndefined();
});

test('one that a killed daemon has left stopped is continued by the next', async () => {
  const pid = await monitor();
  await monitors.hold(DOMID);
  const next = new Monitors(folder);
  await next.releaseLeft((domid) => domid !== DOMID);
  expect(await stateOf(pid)).toBe('T');
  await next.releaseLeft((domid) => domid === DOMID);
  await until(async () => (await stateOf(pid)) === 'S');
  expect(await records()).toEqual([]);
});

test('a process that has its pid now is left alone', async () => {
  const pid = await monitor();
  await monitors.hold(DOMID);
  await writeFile(join(folder, 'held-monitors', String(pid)), `${DOMID} 1`);
  await monitors.releaseLeft(() => true);
  expect(await stateOf(pid)).toBe('T');
  expect(await records()).toEqual([]);
});
