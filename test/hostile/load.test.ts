/** Read-only clients that never stop asking: what they cost the others, and a guest that is paused for its snapshot. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { list, struct, uint } from '../../src/rpc/wire/codec.ts';
import { domain as domainCodec } from '../../src/rpc/wire/messages.ts';
import { PROCEDURES as P } from '../../src/rpc/wire/procedures.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

const ATTACK = resolve(import.meta.dirname, '../bench/pipelining-clients.mjs');
const URI = 'test:///default';
const CALLS = 300;
/** On a machine that does much else, the best of some rounds says what the daemon itself makes others wait. */
const ROUNDS = 6;
const MEDIAN_MS = 20;
const WORST_MS = 100;

let xlsnapd: Xlsnapd;
let attackers: ChildProcess | undefined;

beforeEach(async () => {
  xlsnapd = await Xlsnapd.start();
});

afterEach(async () => {
  attackers?.kill('SIGKILL');
  attackers = undefined;
  await xlsnapd[Symbol.asyncDispose]();
});

/** `disk`: what they ask about in place of a snapshot. */
async function attack(clients: number, uuid: string, ...disk: readonly string[]): Promise<void> {
  const args = [ATTACK, `${xlsnapd.socket}-ro`, URI, `${clients}`, uuid, 's0', ...disk];
  attackers = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (attackers.stdout) await once(attackers.stdout, 'data');
}

/** Milliseconds of one call after another. */
async function waits(client: RawClient, domain: { name: string; uuid: string; id: number }) {
  const times: number[] = [];
  for (let n = 0; n < CALLS; n += 1) {
    const begun = performance.now();
    await client.call(P.DOMAIN_IS_PERSISTENT, { domain });
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  return { median: times[CALLS / 2] ?? Number.NaN, worst: times.at(-1) ?? Number.NaN };
}

/** Children of one snapshot: what the attackers count. */
async function snapshots(client: RawClient, count: number) {
  const { domain } = await client.call(P.DOMAIN_LOOKUP_BY_NAME, { name: 'test' });
  const parent = '<parent><name>s0</name></parent>';
  for (let n = 0; n < count; n += 1) {
    const { value } = await client.call(P.DOMAIN_GET_XML_DESC, { domain, flags: 2 });
    const facts = `<name>s${n}</name><state>shutoff</state><creationTime>${n + 1}</creationTime>${n > 0 ? parent : ''}`;
    const xml = `<domainsnapshot>${facts}${value}</domainsnapshot>`;
    await client.call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml, flags: 1 });
  }
  return domain;
}

test.each([
  [1, 100, []],
  [10, 100, []],
  [10, 1_000, []],
  [10, 1, ['xvda']],
])('%i read-only clients make no other wait, with %i snapshots %j', async (clients, count, disk) => {
  using other = await RawClient.open(xlsnapd.socket, URI);
  using reader = await RawClient.open(`${xlsnapd.socket}-ro`, URI);
  const domain = await snapshots(other, count);
  await attack(clients, domain.uuid, ...disk);
  for (const client of [other, reader]) {
    let best = { median: Number.POSITIVE_INFINITY, worst: Number.POSITIVE_INFINITY };
    for (let round = 0; round < ROUNDS && !(best.median < MEDIAN_MS && best.worst < WORST_MS); round += 1) {
      const { median, worst } = await waits(client, domain);
      best = { median: Math.min(best.median, median), worst: Math.min(best.worst, worst) };
    }
    expect(best.median).toBeLessThan(MEDIAN_MS);
    expect(best.worst).toBeLessThan(WORST_MS);
  }
});

test('no single call takes long: neither one about thousands of domains, nor one with a long name of odd bytes', async () => {
  using reader = await RawClient.open(`${xlsnapd.socket}-ro`, URI);
  const { domain } = await reader.call(P.DOMAIN_LOOKUP_BY_NAME, { name: 'test' });
  const stats = (count: number) => ({ domains: Array.from({ length: count }, () => domain), stats: 0, flags: 0 });
  expect((await reader.call(P.CONNECT_GET_ALL_DOMAIN_STATS, stats(512))).records.length).toBe(512);
  const unlimited = {
    ...P.CONNECT_GET_ALL_DOMAIN_STATS,
    args: struct({ domains: list(domainCodec), stats: uint, flags: uint }),
  };
  expect(await reader.error(reader.send(unlimited, stats(16_384)))).toMatchObject({
    message: 'Unable to decode message payload',
  });
  // Four characters are shown for each byte.
  for (const letter of ['\x1b', '\udcff']) {
    const { message } = await reader.error(reader.send(P.DOMAIN_LOOKUP_BY_NAME, { name: letter.repeat(65_000) }));
    expect(message).toContain(letter === '\x1b' ? '\\x1b\\x1b' : '\\xff\\xff');
    expect(message.length).toBeLessThan(4 * 16_384);
  }
});

test.each([
  ['a snapshot', []],
  ['a disk', ['xvda']],
])(
  'a snapshot is taken while %s is asked about as without, and its guest is not paused for much longer',
  async (_, disk) => {
    using client = await RawClient.open(xlsnapd.socket, URI);
    const { domain } = await client.call(P.DOMAIN_LOOKUP_BY_NAME, { name: 'test' });
    const pause = async (name: string): Promise<number> => {
      await xlsnapd.ok('snapshot-create-as', 'test', name);
      const { params } = await client.call(P.DOMAIN_GET_JOB_STATS, { domain, flags: 1 });
      return Number(params.find(({ field }) => field === 'downtime')?.value);
    };
    await xlsnapd.ok('snapshot-create-as', 'test', 's0');
    const alone = await pause('alone');
    await attack(10, domain.uuid, ...disk);
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS && !(least < alone + WORST_MS); round += 1) {
      least = Math.min(least, await pause(`attacked-${round}`));
    }
    expect(least).toBeLessThan(alone + WORST_MS);
  },
);
