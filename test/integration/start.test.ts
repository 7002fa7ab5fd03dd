/** What xlsnapd says when it cannot serve: what is missing and what to do, in one line, exit code 1. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { runXlsnapd, Xlsnapd } from '../support/daemons/xlsnapd.ts';

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
});

afterAll(async () => {
  await rm(home, { recursive: true });
});

const places = () => [
  ...['--listen', join(home, 'sock'), '--state-dir', join(home, 'state')],
  ...['--snapshot-dir', join(home, 'snapshot'), '--memory-dir', join(home, 'memory')],
];

const refusal = async (...args: readonly string[]) => {
  const { status, stdout, stderr } = await runXlsnapd(...args);
  expect(status).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).not.toMatch(/\n {4}at /);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  return stderr.trimEnd();
};

test('no libvirtd at the upstream socket', async () => {
  const text = await refusal('--connect', 'xen:///system', '--upstream', join(home, 'nobody'), ...places());
  expect(text).toContain(`Failed to connect socket to '${join(home, 'nobody')}': No such file or directory`);
  expect(text).toContain('libvirt-daemon');
});

test.each([
  [['--bogus'], "Unknown option '--bogus'"],
  [['--connect', 'qemu:///system'], "cannot serve 'qemu:///system'"],
  [['--connect', 'xen:///system', '--upstream', 'none'], 'needs a libvirtd that owns the domains'],
  [['--mode', '0999'], '--mode takes three octal digits'],
  [['--log-level', 'loud'], '--log-level takes error, warning, info, debug'],
  [['--group', 'no-such-group', '--connect', 'test:///default'], "no group 'no-such-group'"],
])('%j', async (args, text) => {
  expect(await refusal(...args, ...places())).toContain(text);
});

test('a second daemon on the same socket is refused, the first goes on', async () => {
  await using first = await Xlsnapd.start();
  const text = await refusal(
    ...['--connect', 'test:///default', '--listen', first.socket, '--state-dir', join(home, 'state')],
    ...['--snapshot-dir', join(home, 'snapshot'), '--memory-dir', join(home, 'memory')],
  );
  expect(text).toContain(`Failed to bind socket to '${first.socket}': Address already in use`);
  expect(await first.ok('domstate', 'test')).toBe('running');
});

test('--help and --version answer on standard output', async () => {
  expect((await runXlsnapd('--help')).stdout).toMatch(/^Usage: xlsnapd /);
  expect((await runXlsnapd('--version')).stdout).toMatch(/^xlsnapd \d+\.\d+\.\d+\n$/);
});
