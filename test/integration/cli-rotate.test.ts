/** `xlsnap rotate` before a real xlsnapd, with what others have made beside it. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

jest.setTimeout(60_000);

let daemon: Xlsnapd;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
});

afterAll(() => daemon[Symbol.asyncDispose]());

const rotate = (...words: readonly string[]): Promise<Output> =>
  runProgram(XLSNAP, ['-c', daemon.uri, 'rotate', ...words]);

const names = async () => (await daemon.ok('snapshot-list', 'test', '--name')).split('\n').filter(Boolean);

test('the newest stay, and what others have made', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'mine');
  // Of the rotation's name and label, but not made by it.
  await daemon.ok('snapshot-create-as', 'test', 'daily-20200101T000000Z');
  const old = `<domainsnapshot><name>daily-20200102T000000Z</name><description>made by xlsnap rotate --label daily</description></domainsnapshot>`;
  await writeFile(join(daemon.home, 'old.xml'), old);
  await daemon.ok('snapshot-create', 'test', join(daemon.home, 'old.xml'));
  const { stdout, status } = await rotate('test', '--label', 'daily', '--keep', '1');
  expect(status).toBe(0);
  const [, created = ''] = /^Domain test: snapshot (daily-\d{8}T\d{6}Z) created$/m.exec(stdout) ?? [];
  expect(stdout).toContain('Domain test: snapshot daily-20200102T000000Z deleted\n');
  expect((await names()).sort()).toEqual(['daily-20200101T000000Z', created, 'mine'].sort());
});

test('a guest that fails keeps none of the others from its turn, and loses nothing', async () => {
  const before = await names();
  const { stdout, stderr, status } = await rotate('nobody', 'test', '--label', 'nightly', '--keep', '1', '--json');
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toEqual([
    { domain: 'nobody', deleted: [], error: "failed to get domain 'nobody'" },
    { domain: 'test', created: expect.stringMatching(/^nightly-/), deleted: [] },
  ]);
  expect(stderr).toBe('error: 1 of 2 guests failed\n');
  // No agent runs in the guest.
  const frozen = await rotate('test', '--label', 'daily', '--keep', '1', '--disk-only', '--quiesce');
  expect(frozen.stderr).toMatch(/^error: domain 'test': .*agent/m);
  expect(await names()).toEqual(expect.arrayContaining(before));
});

test('is refused without guests, a label, or a number to keep', async () => {
  const refused = async (...words: readonly string[]) => (await rotate(...words)).stderr;
  expect(await refused('--label', 'a', '--keep', '1')).toContain("error: command 'rotate' requires <domain> option");
  expect(await refused('test', '--keep', '1')).toContain("error: command 'rotate' requires <label> option");
  expect(await refused('test', '--label', 'a')).toContain("error: command 'rotate' requires <keep> option");
  for (const keep of ['0', '-1', '1.5', 'x'])
    expect(await refused('test', '--label', 'a', '--keep', keep)).toContain(
      `error: Numeric value '${keep}' for <keep> option is malformed or out of range`,
    );
});
