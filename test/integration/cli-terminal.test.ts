/** xlsnap on a terminal: progress, Ctrl-C, and virsh's dialogue about a document that was refused. */

import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { LibvirtError } from '../../src/errors.ts';
import type { DomainRef } from '../../src/model/domain.ts';
import { CALLS } from '../../src/rpc/client/calls.ts';
import type { JobStats } from '../../src/rpc/client/client.ts';
import type { RemoteCall } from '../../src/rpc/client/connection.ts';
import { errorFrame, replyFrame } from '../../src/rpc/wire/messages.ts';
import { runProgram, Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { Peer } from '../support/rpc/peer.ts';
import { until } from '../support/until.ts';

const GUEST: DomainRef = { name: 'g', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 3 };
const S1 = { name: 's1', domain: GUEST };
const MIB = 1 << 20;
const CTRL_C = '\x03';
const POLL_MS = 20;

/** Each of them starts daemons and programs, on a machine that does much else. */
const TEST_TIMEOUT_MS = 60_000;

jest.setTimeout(TEST_TIMEOUT_MS);

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-terminal-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

/** How the bar is written over. */
const REWRITE = '\r\x1b[K';

/** What a terminal has shown, the frames of the bar one a line. */
const lines = (shown: string): readonly string[] =>
  shown
    .replaceAll(REWRITE, '\r\n')
    .replaceAll('^C', '')
    .split('\r\n')
    .filter((line) => line !== '');

describe('a job that a daemon takes its time for', () => {
  /** A daemon with a job that does what a test tells it to. */
  class SlowDaemon extends Peer {
    stats: JobStats = { type: 0, params: [] };
    completed: JobStats = { type: 0, params: [] };
    asked = 0;
    /** Answers the call that is under way. */
    finish: ((error?: LibvirtError) => void) | undefined;
    /** What each call to abort the job meets. */
    readonly aborts: (() => void)[] = [];

    constructor(path: string) {
      super(path);
      this.answer(CALLS.lookupByName, () => ({ domain: GUEST }));
      this.answer(CALLS.getJobStats, ({ flags }) => {
        this.asked += 1;
        return flags & 1 ? this.completed : this.stats;
      });
      this.answer(CALLS.abortJob, () => this.aborts.shift()?.());
      this.answer(CALLS.snapshotLookupByName, () => ({ snapshot: S1 }));
      this.#hold(CALLS.snapshotCreateXML, { snapshot: S1 });
      this.#hold(CALLS.revertToSnapshot, undefined);
      this.#hold(CALLS.snapshotDelete, undefined);
    }

    #hold<A, R>(call: RemoteCall<A, R>, result: R): void {
      this.on(call, (header, _frame, socket) => {
        this.finish = (error) => {
          socket.write(error ? errorFrame(header, error) : replyFrame(header, call.result, result));
        };
      });
    }

    /** So much of 256 MiB is written. */
    written(mib: number): void {
      const params = [
        { field: 'memory_total', type: 'ullong', value: BigInt(256 * MIB) },
        { field: 'memory_processed', type: 'ullong', value: BigInt(mib * MIB) },
      ] as const;
      this.stats = { type: 2, params };
    }
  }

  let daemon: SlowDaemon;
  let command: readonly string[];

  beforeEach(async () => {
    daemon = new SlowDaemon(join(directory, 'sock'));
    await daemon.listen();
    command = [...XLSNAP, '-c', `xen+unix:///system?socket=${daemon.path}`, 'snapshot-create-as', 'g', 's1'];
  });

  afterEach(() => daemon[Symbol.asyncDispose]());

  test('is shown as a bar, and at its end what was written, and how long the guest stood', async () => {
    const numbers = { memory_processed: 256 * MIB, time_elapsed: 3_200, downtime: 41 };
    const params = Object.entries(numbers).map(
      ([field, value]) => ({ field, type: 'ullong', value: BigInt(value) }) as const,
    );
    daemon.completed = { type: 3, params };
    await using terminal = new Terminal(command);
    await until(() => daemon.finish !== undefined);
    daemon.written(64);
    await terminal.until(/\[=+> +\] 25% 64\.00 MiB of 256\.00 MiB/);
    daemon.written(128);
    await terminal.until(/\[=+> +\] 50% 128\.00 MiB of 256\.00 MiB, [\d.]+ [KM]iB\/s/);
    daemon.finish?.();
    expect(await terminal.ended()).toBe(0);
    expect(lines(terminal.shown).slice(-2)).toEqual([
      'Memory: 256.00 MiB in 3.2 s, 80.00 MiB/s; the guest was paused for 41 ms',
      'Domain snapshot s1 created',
    ]);
  });

  test('is not watched where nobody looks', async () => {
    const running = runProgram(command, []);
    await until(() => daemon.finish !== undefined);
    daemon.written(64);
    daemon.finish?.();
    expect(await running).toEqual({ stdout: 'Domain snapshot s1 created\n', stderr: '', status: 0 });
    expect(daemon.asked).toBe(0);
  });

  const NOTE = 'cancelling; press Ctrl-C again to quit and let the daemon finish';

  /** What is said, but for the bar. */
  const said = (terminal: Terminal): readonly string[] =>
    lines(terminal.shown).filter((line) => !line.startsWith('Writing memory'));

  test('is taken back by Ctrl-C', async () => {
    daemon.aborts.push(() =>
      daemon.finish?.(new LibvirtError('OPERATION_ABORTED', "job 'snapshot' canceled by client")),
    );
    await using terminal = new Terminal(command);
    await until(() => daemon.finish !== undefined);
    daemon.written(32);
    await terminal.until(/12%/);
    terminal.press(CTRL_C);
    expect(await terminal.ended()).toBe(130);
    expect(said(terminal)).toEqual([NOTE, "error: operation aborted: job 'snapshot' canceled by client"]);
  });

  test.each([
    ['revert', 'error: Failed to revert snapshot s1'],
    ['delete', 'error: Failed to delete snapshot s1'],
  ])('is taken back by Ctrl-C where it is a %s, too', async (operation, failed) => {
    const aborted = new LibvirtError('OPERATION_ABORTED', `job 'snapshot ${operation}' canceled by client`);
    daemon.aborts.push(() => daemon.finish?.(aborted));
    daemon.stats = { type: 2, params: [] };
    await using terminal = new Terminal([...command.slice(0, -3), `snapshot-${operation}`, 'g', 's1']);
    await until(() => daemon.finish !== undefined);
    terminal.press(CTRL_C);
    expect(await terminal.ended()).toBe(130);
    expect(said(terminal)).toEqual([NOTE, failed, `error: ${aborted.message}`]);
  });

  test('is taken back when it has its turn, where it has to wait for that', async () => {
    daemon.aborts.push(() =>
      daemon.finish?.(new LibvirtError('OPERATION_ABORTED', "job 'snapshot' canceled by client")),
    );
    await using terminal = new Terminal(command);
    await until(() => daemon.finish !== undefined);
    terminal.press(CTRL_C);
    await terminal.until(/cancelling/);
    const before = daemon.asked;
    await until(() => daemon.asked > before + 4);
    expect(daemon.aborts).toHaveLength(1);
    daemon.written(32);
    expect(await terminal.ended()).toBe(130);
    expect(daemon.aborts).toEqual([]);
  });

  test('that has gone too far for Ctrl-C is waited for', async () => {
    const refusal = "cannot abort job 'snapshot' of domain 'g': the create of 's1' has gone too far";
    daemon.aborts.push(() => {
      throw new LibvirtError('OPERATION_INVALID', refusal);
    });
    daemon.written(256);
    await using terminal = new Terminal(command);
    await until(() => daemon.finish !== undefined);
    terminal.press(CTRL_C);
    await terminal.until(/gone too far/);
    daemon.finish?.();
    expect(await terminal.ended()).toBe(130);
    expect(said(terminal)).toEqual([
      NOTE,
      `error: Requested operation is not valid: ${refusal}`,
      'Domain snapshot s1 created',
    ]);
  });

  test('is left at once by a second Ctrl-C', async () => {
    await using terminal = new Terminal(command);
    await until(() => daemon.finish !== undefined);
    terminal.press(CTRL_C);
    await terminal.until(/cancelling/);
    terminal.press(CTRL_C);
    expect(await terminal.ended()).toBe(130);
    expect(lines(terminal.shown)).toHaveLength(1);
  });
});

test('a real snapshot ends with what its memory took, and a revert with what its steps took', async () => {
  await using host = await Xlsnapd.start();
  await using terminal = new Terminal([...XLSNAP, '-c', host.uri, 'snapshot-create-as', 'test', 's1']);
  expect(await terminal.ended()).toBe(0);
  expect(lines(terminal.shown).slice(-2)).toEqual([
    expect.stringMatching(/^Memory: 4\.00 MiB in [\d.]+ m?s, [\d.]+ [KMG]iB\/s; the guest was paused for [\d.]+ m?s$/),
    'Domain snapshot s1 created',
  ]);
  await using reverting = new Terminal([...XLSNAP, '-c', host.uri, 'snapshot-revert', 'test', 's1']);
  expect(await reverting.ended()).toBe(0);
  const ms = '[\\d.]+ m?s';
  expect(lines(reverting.shown).slice(-2)).toEqual([
    expect.stringMatching(
      `^Reverted in ${ms}: destroy ${ms}, disks ${ms}, restore ${ms}; the guest was stopped for ${ms}$`,
    ),
    'Domain snapshot s1 reverted',
  ]);
});

test('Ctrl-C leaves nothing of a real snapshot behind', async () => {
  await using host = await Xlsnapd.start();
  const state = join(host.home, 'state');
  const files = await readdir(state, { recursive: true });
  const deviceModel = Number(await readFile(join(state, files.find((file) => /\d\.pid$/.test(file)) ?? ''), 'utf8'));
  process.kill(deviceModel, 'SIGSTOP');
  try {
    await using terminal = new Terminal([...XLSNAP, '-c', host.uri, 'snapshot-create-as', 'test', 's1']);
    while (!(await host.ok('domjobinfo', 'test')).includes('Unbounded')) await delay(POLL_MS);
    terminal.press(CTRL_C);
    await terminal.until(/cancelling/);
    while (!/canceled by client|None/.test(await host.ok('domjobinfo', 'test'))) {
      process.kill(deviceModel, 'SIGCONT');
      await delay(POLL_MS);
    }
    expect(await terminal.ended()).toBe(130);
    expect(lines(terminal.shown).at(-1)).toBe("error: operation aborted: job 'snapshot' canceled by client");
  } finally {
    process.kill(deviceModel, 'SIGCONT');
  }
  expect(await host.ok('snapshot-list', 'test', '--name')).toBe('');
  expect(await host.ok('domstate', 'test')).toBe('running');
});

describe('snapshot-edit asks what virsh asks', () => {
  /** Makes of `one` what cannot be, and then of that what can; counts in a file beside it. */
  const EDITOR = `#!/bin/sh
if [ -e "$COUNT" ]; then sed -i "s|<state>nonsense|<description>d</description><state>running|" "$1"
else sed -i s/running/nonsense/ "$1"; fi
touch "$COUNT"
`;

  /** virsh looks for a polkit agent of its own on every terminal. */
  const POLKIT = /Authorization not available.*\r\n/g;

  /** Changes the snapshot behind its own back, the first time. */
  const OTHER = `#!/bin/sh
if [ ! -e "$COUNT" ]; then
  sed "s|<state>|<description>of another</description><state>|" "$1" > "$COUNT"
  virsh -c "$URI" snapshot-create test "$COUNT" --redefine > "$COUNT.log"
fi
sed -i "s|<state>running|<description>mine</description><state>running|" "$1"
`;

  async function dialogue(
    program: readonly string[],
    script: string,
    keys: readonly string[],
  ): Promise<readonly [number | null, string]> {
    await using host = await Xlsnapd.start();
    await host.ok('snapshot-create-as', 'test', 's1');
    const editor = join(directory, 'editor');
    await writeFile(editor, script);
    await chmod(editor, 0o755);
    const env = { EDITOR: editor, COUNT: join(directory, `${program.length}-edited`), URI: host.uri };
    await using terminal = new Terminal([...program, '-c', host.uri, 'snapshot-edit', 'test', 's1'], env);
    for (const [index, key] of keys.entries()) {
      await terminal.until(new RegExp(`(Try again\\?[^]*){${index + 1}}: $`));
      terminal.press(key);
    }
    const status = await terminal.ended();
    return [status, terminal.shown.replace(POLKIT, '').replace(/\/tmp\/(virsh|xlsnap)\w{6}\.xml/g, 'FILE')];
  }

  test.each([
    ['help, and the editor again', EDITOR, ['?', 'y'], 0, 'Snapshot s1 edited.'],
    ['no', EDITOR, ['n'], 1, 'error: Failed to update s1'],
    ['force, and no', EDITOR, ['f', 'n'], 1, 'error: Failed to update s1'],
    ['where another was quicker, and force', OTHER, ['f'], 0, 'changed by another user. Try again?'],
    ['where another was quicker, and no', OTHER, ['n'], 1, 'error: Failed to update s1'],
  ])('%s', async (_what, script, keys, status, shown) => {
    const ours = await dialogue(XLSNAP, script, keys);
    expect(ours[0]).toBe(status);
    expect(ours[1]).toContain(shown);
    expect(ours).toEqual(await dialogue(['virsh'], script, keys));
  });
});
