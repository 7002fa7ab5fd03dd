/** What the agent in a guest may do to the daemon and to others: nothing but fail its own domain's snapshot. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PROCEDURES } from '../../src/rpc/wire/procedures.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

const AGENT = resolve(import.meta.dirname, '../support/hostile/agent.mjs');
/** The daemon may hold one reply of 10 MiB, and what its garbage collector has yet to collect. */
const MAX_GROWTH_KIB = 128 << 10;
/** Of another client's call; the worst one also waits for a processor, on a machine that does much else. */
const MAX_MEDIAN_MS = 20;
const MAX_WORST_MS = 1_000;
/** What the daemon itself works on it. */
const MAX_CPU_S = 3;
/** sysconf(_SC_CLK_TCK). */
const TICKS_PER_S = 100;

let daemon: Xlsnapd;
const channel = () => join(daemon.home, 'agent');

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  const image = await newImage(join(daemon.home, 'vm.qcow2'));
  const xml = `<domain type='xen'><name>vm</name><memory>4096</memory><os><type>hvm</type></os><devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='xvda'/></disk>
    <channel type='unix'><source mode='bind' path='${channel()}'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices></domain>`;
  await writeFile(join(daemon.home, 'vm.xml'), xml);
  await daemon.ok('define', join(daemon.home, 'vm.xml'));
  await daemon.ok('start', 'vm');
});

afterAll(async () => await daemon[Symbol.asyncDispose]());

const memoryKib = async (field: string) => {
  const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
};

/** What the daemon has had of the processors so far (proc(5): utime, stime). */
const cpuSeconds = async () => {
  const stat = await readFile(`/proc/${daemon.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
};

/** How long each call of another client takes while `work` goes on. */
async function latencies(work: Promise<unknown>): Promise<readonly number[]> {
  const client = await RawClient.open(daemon.socket);
  const taken: number[] = [];
  let done = false;
  const end = work.finally(() => {
    done = true;
  });
  while (!done || taken.length < 20) {
    const start = performance.now();
    await client.call(PROCEDURES.CONNECT_NUM_OF_DOMAINS, undefined);
    taken.push(performance.now() - start);
    await sleep(1);
  }
  client[Symbol.dispose]();
  await end;
  return taken.toSorted((a, b) => a - b);
}

test.each([
  ['a line without an end', 'no complete reply in 10485760 bytes (guest-fsfreeze-freeze'],
  ['a line without an end, at the sync', 'no complete reply in 10485760 bytes (guest-sync-delimited'],
  ['answers with another id', 'no complete reply in 10485760 bytes (guest-sync-delimited'],
  ['empty lines', 'no complete reply in 10485760 bytes (guest-fsfreeze-freeze'],
  ['events', 'no complete reply in 10485760 bytes (guest-fsfreeze-freeze'],
  ['one very deep answer', 'a reply of more than 100000 values (guest-fsfreeze-freeze'],
])('an agent that sends %s', async (kind, reason) => {
  const agent = spawn(process.execPath, [AGENT, channel(), kind], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(agent, 'exit');
  try {
    await Promise.race([once(agent.stdout, 'data'), exited]);
    const before = await memoryKib('VmRSS');
    const worked = await cpuSeconds();
    await writeFile(`/proc/${daemon.pid}/clear_refs`, '5');
    const refused = daemon.refused('snapshot-create-as', 'vm', 's1', '--disk-only', '--quiesce');
    const taken = await latencies(refused);
    expect(await refused).toContain(`Guest agent is not responding: ${reason} on '${channel()}')`);
    expect((await memoryKib('VmHWM')) - before).toBeLessThan(MAX_GROWTH_KIB);
    expect((await cpuSeconds()) - worked).toBeLessThan(MAX_CPU_S);
    expect(taken[taken.length >> 1]).toBeLessThan(MAX_MEDIAN_MS);
    expect(taken.at(-1)).toBeLessThan(MAX_WORST_MS);
    expect(await daemon.ok('domstate', 'vm')).toBe('running');
    expect(await daemon.ok('snapshot-list', 'vm', '--name')).toBe('');
  } finally {
    agent.kill('SIGKILL');
    await exited;
    await rm(channel());
  }
});
