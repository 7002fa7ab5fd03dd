/** xlsnap beyond virsh: completion, its own help and version. */

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { COMMANDS } from '../../src/cli/commands.ts';
import { VERSION } from '../../src/version.ts';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

/** Each of them starts programs, on a machine that does much else. */
const TEST_TIMEOUT_MS = 60_000;

jest.setTimeout(TEST_TIMEOUT_MS);

let host: Xlsnapd;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-output-'));
  host = await Xlsnapd.start();
  await host.ok('snapshot-create-as', 'test', 's1', 'the first');
  await host.ok('snapshot-create-as', 'test', 'with space');
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const xlsnap = (...args: readonly string[]): Promise<Output> => runProgram([...XLSNAP, '-c', host.uri], args);

test('lists are in the order of virsh’s in a Turkish locale, too, where i is not the small letter of I', async () => {
  const made = await runProgram(
    ['localedef'],
    ['--no-archive', '-i', 'tr_TR', '-f', 'UTF-8', `${directory}/tr_TR.UTF-8`],
  );
  expect(made).toMatchObject({ status: 0 });
  const names = ['a1', 'Idle'];
  for (const name of names) await host.ok('snapshot-create-as', 'test', name);
  const list = ['snapshot-list', 'test', '--name'];
  const listed = (program: readonly string[]): Promise<Output> =>
    runProgram([...program, '-c', host.uri], list, { LC_ALL: 'tr_TR.UTF-8', LOCPATH: directory, LANGUAGE: 'C' });
  try {
    expect((await xlsnap(...list)).stdout).toBe('a1\nIdle\ns1\nwith space\n\n');
    const turkish = await listed(XLSNAP);
    expect(turkish.stdout).toBe('Idle\na1\ns1\nwith space\n\n');
    expect(await listed(['virsh'])).toEqual(turkish);
  } finally {
    for (const name of names) await host.ok('snapshot-delete', 'test', name);
  }
});

test('an XPath expression that is wrong is an error (virsh says so, and succeeds)', async () => {
  expect(await xlsnap('snapshot-dumpxml', 'test', 's1', '--xpath', '//[')).toEqual({
    stdout: '\n',
    stderr: "XPath error : Invalid expression\n//[\n  ^\nerror: internal error: Incorrect xpath '//['\n",
    status: 1,
  });
});

test('a reader that goes away ends it without a word', async () => {
  const line = `${[...XLSNAP, '-c', host.uri].map((word) => `'${word}'`).join(' ')} snapshot-dumpxml test s1 | true`;
  expect(await runProgram(['bash', '-c', line], [])).toEqual({ stdout: '', stderr: '', status: 0 });
});

describe('completion', () => {
  /** What bash offers after this line, by the script that xlsnap prints. */
  async function offered(line: string): Promise<readonly string[]> {
    const program = join(directory, 'xlsnap');
    await writeFile(program, `#!/bin/sh\nexec ${XLSNAP.map((word) => `'${word}'`).join(' ')} "$@"\n`);
    await chmod(program, 0o755);
    const script = `
      source <(xlsnap completion bash)
      COMP_LINE=$1 COMP_POINT=\${#1} COMP_WORDS=(xlsnap)
      $(complete -p xlsnap | sed 's/.*-F \\([^ ]*\\).*/\\1/')
      ((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}"`;
    const env = { PATH: `${directory}:${process.env.PATH}`, LIBVIRT_DEFAULT_URI: host.uri };
    const { stdout, stderr } = await runProgram(['bash', '-c', script, 'bash'], [line], env);
    expect(stderr).toBe('');
    return stdout.split('\n').filter((word) => word !== '');
  }

  test.each([
    ['commands', 'xlsnap snapshot-r', ['snapshot-revert']],
    ['options before the command', 'xlsnap --r', ['--readonly']],
    [
      'the options of a command, but for those that are there',
      'xlsnap snapshot-info test --current --',
      ['--snapshotname', '--json', '--help'],
    ],
    ['domains', 'xlsnap snapshot-info ', ['test']],
    ['snapshots', 'xlsnap snapshot-info test ', ['s1', 'with\\ space']],
    ['within quotes', "xlsnap snapshot-info test 'wi", ['with space']],
    ['after a backslash', 'xlsnap snapshot-info test with\\ s', ['with\\ space']],
    ['behind an equals sign, where bash begins a word', 'xlsnap snapshot-list test --from=s', ['s1']],
    ["by an option's name", 'xlsnap snapshot-info --snapshotname s1 --domain t', ['test']],
    ['what help tells of', 'xlsnap help snapshot-pa', ['snapshot-parent']],
    ['nothing of a domain that is not there', 'xlsnap snapshot-info nosuch ', []],
    ['nothing behind what is wrong', 'xlsnap snapshot-info --bogus ', []],
    ['nothing where no daemon answers', 'xlsnap -c test+unix:///default?socket=/nosuch snapshot-info ', []],
    ['nothing for a URI', 'xlsnap -c ', []],
  ])('%s', async (_what, line, words) => {
    expect(await offered(line)).toEqual(words);
  });

  /** What fish offers after each line, by the script that xlsnap prints. */
  async function offeredByFish(lines: readonly string[]): Promise<readonly string[]> {
    const script = 'xlsnap completion fish | source; for line in $argv; complete -C $line; echo ===; end';
    const env = { PATH: `${directory}:${process.env.PATH}`, LIBVIRT_DEFAULT_URI: host.uri };
    const { stdout, stderr } = await runProgram(['fish', '--no-config', '-c', script], lines, env);
    expect(stderr).toBe('');
    return stdout.split('===\n').slice(0, -1);
  }

  test('by fish offers whole words, but for names that fish would expand', async () => {
    await host.ok('snapshot-create-as', 'test', '~root');
    const lines = [
      'xlsnap snapshot-r',
      'xlsnap snapshot-info test ',
      "xlsnap snapshot-info test 'wi",
      'xlsnap snapshot-list test --from=s',
      'xlsnap snapshot-info --snapshotname s1 --domain t',
    ];
    try {
      expect(await offeredByFish(lines)).toEqual([
        'snapshot-revert\n',
        's1\nwith space\n',
        'with space\n',
        '--from=s1\n',
        'test\n',
      ]);
    } finally {
      await host.ok('snapshot-delete', 'test', '~root');
    }
  });

  test.each(['zsh', 'fish'])('by %s asks for whole words, and its shell picks', async (shell) => {
    const words = async (...line: readonly string[]) =>
      (await xlsnap('completion', shell, '--', 'xlsnap', '-c', host.uri, ...line)).stdout;
    expect(await words('snapshot-info', 'test', "'wi")).toBe('s1\nwith space\n');
    expect(await words('snapshot-list', 'test', '--from=s')).toBe('--from=s1\n--from=with space\n');
    expect(await words('')).toContain('snapshot-revert\n');
  });

  test('of another shell is refused', async () => {
    expect((await xlsnap('completion', 'tcsh')).stderr).toBe(
      "error: no completion for 'tcsh': there is one for bash, zsh and fish\n",
    );
  });
});

describe('help', () => {
  /** Options that virsh does not have, as the help shows them. */
  const OWN: Readonly<Record<string, readonly string[]>> = {
    create: ['--name <string>', '--check', '--progress-json'],
    'create-as': ['--check', '--progress-json'],
    delete: ['--progress-json'],
    dumpxml: ['--cfg'],
    list: ['--long'],
    revert: ['--progress-json'],
  };

  /** The help without own options and letters, and without the other form of xmlfile. */
  const virshPart = (help: string, own: readonly string[]) =>
    own
      .reduce(
        (text, option) => text.replace(new RegExp(`^ {4}${option} .*\\n`, 'm'), '').replace(` [${option}]`, ''),
        help.replace(/^ {4}-\w \| (--\S+(?: <string>)?) +(.*)$/gm, (_, option: string, text: string) => {
          return `    ${option.padEnd(15)}  ${text}`;
        }),
      )
      .replace(', or xl.snapshot.cfg(5)', '');

  test.each(['create', 'create-as', 'current', 'delete', 'dumpxml', 'edit', 'info', 'list', 'parent', 'revert'])(
    'of snapshot-%s is virsh’s, with the own options',
    async (name) => {
      const command = `snapshot-${name}`;
      const ours = await xlsnap(command, '--help');
      const own = ['--json', ...(OWN[name] ?? [])];
      for (const option of own) expect(ours.stdout).toContain(` [${option}]`);
      const without = virshPart(ours.stdout, own);
      expect({ ...ours, stdout: without }).toEqual(await runProgram(['virsh'], [command, '--help']));
      expect(await xlsnap('help', command)).toEqual(ours);
    },
  );

  test('of the group is virsh’s', async () => {
    expect(await xlsnap('help', 'snapshot')).toEqual(await runProgram(['virsh'], ['help', 'snapshot']));
  });

  test('needs no daemon, and names every command', async () => {
    for (const args of [['--help'], ['-h'], [], ['help']]) {
      const { stdout, status } = await runProgram(XLSNAP, args);
      expect(status).toBe(0);
      for (const { name, help } of COMMANDS) expect(stdout).toContain(`    ${name.padEnd(30)} ${help}\n`);
    }
  });

  test('the version is the package’s', async () => {
    for (const option of ['--version', '-v']) {
      expect(await runProgram(XLSNAP, [option])).toEqual({ stdout: `${VERSION}\n`, stderr: '', status: 0 });
    }
  });
});

describe('a daemon that is not there', () => {
  const uri = 'test+unix:///default?socket=/nowhere/sock';

  test('is virsh’s own error, by option and by environment', async () => {
    const lines = [
      'error: failed to connect to the hypervisor',
      "error: Failed to connect socket to '/nowhere/sock': No such file or directory\n",
    ].join('\n');
    expect(await runProgram(XLSNAP, ['snapshot-list', 'test'], { LIBVIRT_DEFAULT_URI: uri })).toEqual(
      await runProgram(['virsh'], ['snapshot-list', 'test'], { LIBVIRT_DEFAULT_URI: uri }),
    );
    expect((await runProgram(XLSNAP, ['-c', uri, 'snapshot-list', 'test'])).stderr).toBe(lines);
  });

  test.each([
    ['foo:///', 'no connection driver available for foo:///'],
    [
      'xen://there/system',
      "invalid argument: 'xen://there/system' is not on this machine, and xlsnap has no TLS and no TCP: use xen+ssh://there/system",
    ],
  ])('%s cannot be one', async (given, error) => {
    const { stderr, status } = await runProgram(XLSNAP, ['-c', given, 'snapshot-list', 'test']);
    expect(stderr).toBe(`error: failed to connect to the hypervisor\nerror: ${error}\n`);
    expect(status).toBe(1);
  });
});
