/** libvirt's own test driver, recorded, against xlsnapd before a libvirtd and against its embedded host. */

import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { type RecordedCommand, recorded, runCase } from '../support/oracle.ts';
import { DIFFERENCES, type Difference, type OracleHost } from './oracle-differences.ts';

const CASES = ['t04-createas', 't05-redefine', 't02-tree', 't01-basic', 't07-edit'];
const HOSTS: readonly OracleHost[] = ['libvirt', 'embedded'];
const MAX_DIFFERENCES = 15;
/** All cases together; measured: 45 s on two idle cores. */
const RUNS_TIMEOUT_MS = 900_000;

/** By host and case. */
const runs = new Map<string, Promise<readonly RecordedCommand[]>>();
let folder: string;

/** Two at a time: each spends half of its time waiting. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xlsnap-oracle-'));
  await chmod(folder, 0o755);
  const waiting = CASES.flatMap((name) => HOSTS.map((host) => ({ name, host })));
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { name, host } = next;
      const run = runOn(name, host);
      runs.set(`${host} ${name}`, run);
      await run.catch(() => undefined);
    }
  };
  await Promise.all([work(), work()]);
}, RUNS_TIMEOUT_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

async function runOn(name: string, host: OracleHost): Promise<readonly RecordedCommand[]> {
  const directory = join(folder, `${host}-${name}`);
  const home = join(directory, 'home');
  await mkdir(home, { recursive: true });
  if (host === 'embedded') {
    await using xlsnapd = await Xlsnapd.start({ home });
    return await runCase(name, { uri: xlsnapd.uri, flavour: 'xen', directory });
  }
  await using libvirtd = await startLibvirtd();
  await using xlsnapd = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  return await runCase(name, { uri: xlsnapd.uri, flavour: 'test', directory });
}

const differencesOf = (host: OracleHost): readonly Difference[] =>
  DIFFERENCES.filter((difference) => difference.host === undefined || difference.host === host);

describe.each(HOSTS)('%s', (host) => {
  test.each(CASES)('%s: every command answers as recorded', async (name) => {
    const differences = differencesOf(host);
    const expected = (command: RecordedCommand): RecordedCommand => {
      const at = `${name.slice(0, 3)} ${String(command.number).padStart(3, '0')}`;
      return differences.reduce((rest, difference) => difference.expected?.(rest, at) ?? rest, command);
    };
    const compared = (command: RecordedCommand): RecordedCommand =>
      differences.reduce((rest, difference) => difference.compared?.(rest) ?? rest, command);
    const answers = await runs.get(`${host} ${name}`);
    expect(answers?.map(compared)).toEqual((await recorded(name)).map(expected).map(compared));
  });
});

test('the cases are all there', async () => {
  const counts = await Promise.all(CASES.map(async (name) => (await recorded(name)).length));
  expect(counts.reduce((sum, count) => sum + count)).toBe(359);
});

test('the list of differences is short', () => {
  expect(DIFFERENCES.length).toBeLessThanOrEqual(MAX_DIFFERENCES);
});
