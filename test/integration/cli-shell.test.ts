/** xlsnap without a command on a terminal: virsh's prompt, with history and completion. */

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CALLS } from '../../src/rpc/client/calls.ts';
import { runProgram, Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { Peer } from '../support/rpc/peer.ts';
import { until } from '../support/until.ts';

const CTRL_C = '\x03';
const CTRL_D = '\x04';
const UP = '\x1b[A';

/** What is printed when the next line can be entered; the cursor is put behind it. */
const READY = /xlsnap [#>] \S*$/;

let host: Xlsnapd;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-shell-'));
  host = await Xlsnapd.start();
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function start(uri: string, ...options: readonly string[]): Promise<Terminal> {
  const terminal = new Terminal([...XLSNAP, '-c', uri, ...options], { XDG_CACHE_HOME: directory });
  await terminal.until(READY);
  return terminal;
}

/** Presses keys, and returns what is shown until the next prompt. */
async function enter(terminal: Terminal, keys: string): Promise<string> {
  const before = terminal.shown.length;
  const since = () => terminal.shown.slice(before);
  terminal.press(keys);
  await until(() => since().includes('\n') && READY.test(since()));
  return since();
}

test('runs the commands of a line one after the other, and quits', async () => {
  await using terminal = await start(host.uri);
  expect(terminal.shown).toMatch(/^Welcome to xlsnap.*'quit' to quit/s);
  const shown = await enter(terminal, `snapshot-create-as test s1 'the first; "one"'; snapshot-list test --name\n`);
  expect(shown).toMatch(/Domain snapshot s1 created\r\ns1\r\n\r\n/);
  expect(await host.ok('snapshot-dumpxml', 'test', 's1')).toContain(
    '<description>the first; &quot;one&quot;</description>',
  );
  expect(
    await enter(terminal, 'snapshot-delete test nosuch; snapshot-current test --name # a comment; quit\n'),
  ).toMatch(/error: .*'nosuch'\r\n\r\ns1\r\n/);
  terminal.press('quit\n');
  expect(await terminal.ended()).toBe(0);
});

test('runs nothing of a line that it refuses, in virsh’s words', async () => {
  await using terminal = await start(host.uri);
  const lines = {
    'snapshot-create-as test s2; nosuch': "unknown command: 'nosuch'",
    'snapshot-create-as test s2; snapshot-info': "command 'snapshot-info' requires <domain> option",
    'snapshot-create-as test "s2': 'missing "',
    'snapshot-create-as test s2 \\': 'dangling \\',
  };
  for (const [line, error] of Object.entries(lines)) {
    expect(await enter(terminal, `${line}\n`)).toContain(`error: ${error}\r\n`);
    expect((await runProgram(['virsh', '-c', host.uri], [line])).stderr).toContain(`error: ${error}\n`);
  }
  expect(await host.ok('snapshot-list', 'test', '--name')).toBe('s1');
  terminal.press(CTRL_D);
  expect(await terminal.ended()).toBe(0);
});

test('completes commands, domains and snapshots, and remembers lines for the next time', async () => {
  await host.ok('snapshot-create-as', 'test', 'with space');
  await using terminal = await start(host.uri, '--readonly', '--quiet');
  expect(terminal.shown).toMatch(/^[^a-z]*xlsnap > /);
  for (const [keys, shown] of [
    ['snapshot-inf', /snapshot-info /],
    ['t', /test /],
    ['w', /with\\ space /],
  ] as const) {
    terminal.press(keys);
    terminal.press('\t');
    await terminal.until(shown);
  }
  expect(await enter(terminal, '\n')).toMatch(/Name: +with space\r\n/);
  terminal.press('exit\n');
  expect(await terminal.ended()).toBe(0);
  const history = join(directory, 'xlsnap/history');
  expect(await readFile(history, 'utf8')).toMatch(/\nsnapshot-info test with\\ space \nexit\n$/);
  expect((await stat(history)).mode & 0o777).toBe(0o600);
  await using next = await start(host.uri);
  expect(await enter(next, `${UP}${UP}\n`)).toMatch(/Name: +with space\r\n/);
});

test('Ctrl-C ends the command that runs, or leaves the line', async () => {
  await using daemon = new Peer(join(directory, 'sock'));
  let asked = false;
  daemon.on(CALLS.lookupByName, () => {
    asked = true;
  });
  await daemon.listen();
  await using terminal = await start(`xen+unix:///system?socket=${daemon.path}`);
  terminal.press('snapshot-list guest\n');
  await until(() => asked);
  await enter(terminal, CTRL_C);
  await enter(terminal, `half a line${CTRL_C}`);
  expect(await enter(terminal, 'help snapshot-parent\n')).toContain('snapshot-parent - Get the name of the parent');
  terminal.press('quit\n');
  expect(await terminal.ended()).toBe(0);
});
