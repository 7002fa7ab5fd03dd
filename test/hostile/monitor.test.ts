/**
 * What a device model that was broken into may do at its monitor: fail its own domain's snapshot. The guest is not left paused, the
 * daemon neither grows nor makes others wait, and with the real monitor back the domain is as before.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';

const MONITOR = resolve(import.meta.dirname, '../support/hostile/monitor.mjs');
/** One reply of 10 MiB, and what the garbage collector has yet to collect. */
const MAX_GROWTH_KIB = 128 << 10;

let daemon: Xlsnapd;
let socket: string;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  const image = await newImage(join(daemon.home, 'vm.qcow2'));
  const xml = `<domain type='xen'><name>vm</name><memory>4096</memory><os><type>hvm</type></os><devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='xvda'/></disk>
  </devices></domain>`;
  await writeFile(join(daemon.home, 'vm.xml'), xml);
  await daemon.ok('define', join(daemon.home, 'vm.xml'));
  const before = new Set(await readdir(join(daemon.home, 'state')));
  await daemon.ok('start', 'vm');
  const [name = ''] = (await readdir(join(daemon.home, 'state'))).filter(
    (each) => each.endsWith('.qmp') && !before.has(each),
  );
  socket = join(daemon.home, 'state', name);
});

afterAll(async () => await daemon[Symbol.asyncDispose]());

const peakKib = async () => {
  const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]);
};

/** Has the lying monitor in the real one's place. Returns what it has said. */
async function lying(kind: string, command: string, work: () => Promise<void>): Promise<string> {
  await rename(socket, `${socket}-real`);
  const monitor: ChildProcess = spawn(process.execPath, [MONITOR, socket, `${socket}-real`, kind, command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  monitor.stdout?.on('data', (text) => {
    said += text;
  });
  const ended = once(monitor, 'exit');
  try {
    if (monitor.stdout) await once(monitor.stdout, 'data');
    await work();
  } finally {
    monitor.kill('SIGKILL');
    await ended;
    await rm(socket, { force: true });
    await rename(`${socket}-real`, socket);
  }
  return said;
}

test.each([
  ['a line without an end', 'greeting', 'no complete reply in 10485760 bytes'],
  ['events', 'greeting', 'no complete reply in 10485760 bytes'],
  ['what is not JSON', 'greeting', 'cannot talk to the device model'],
  ['the end of the connection', 'greeting', 'the device model closed the connection'],
  ['an answer of another shape', 'query-named-block-nodes', ''],
  ['an error without words', 'query-block', 'query-block of disk'],
  ['an error with an escape sequence', 'query-block', String.raw`failed: \x1b]0;mine\x07\xe2\x80\xae`],
  ['answers with another id', 'query-block', 'no complete reply in 10485760 bytes'],
  ['one very deep answer', 'query-block-exports', 'a reply of more than 100000 values'],
  ['events', 'transaction', 'no complete reply in 10485760 bytes'],
  ['the end of the connection', 'transaction', 'the device model closed the connection'],
])('%s, at %s', async (kind, command, reason) => {
  const before = await peakKib();
  const said = await lying(kind, command, async () => {
    expect(await daemon.refused('snapshot-create-as', 'vm', 's1')).toContain(reason);
    expect(await daemon.ok('domstate', 'vm')).toBe('running');
    expect(await daemon.ok('snapshot-list', 'vm', '--name')).toBe('');
  });
  expect(said).toContain('lied');
  expect((await peakKib()) - before).toBeLessThan(MAX_GROWTH_KIB);
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('');
  await daemon.ok('snapshot-create-as', 'vm', 'after');
  await daemon.ok('snapshot-delete', 'vm', 'after');
});
