/** Completion in real shells on a terminal: Tab and Enter run xlsnap with the name, and nothing that is in the name. */

import { access, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { COMPLETION_SCRIPTS } from '../../src/cli/command-line/completion-scripts.ts';
import { Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { until } from '../support/until.ts';

/** By the letter that each begins with, so that one Tab completes it. */
const NAMES: Readonly<Record<string, string>> = {
  'a command substitution': 'a$(touch pwned)',
  backquotes: 'b`touch pwned`',
  'several commands': 'c; touch pwned',
  'single quotes': "d'; touch pwned; '",
  'double quotes': 'e"; touch pwned; "',
  'an exclamation mark': 'f!echo',
  'a backslash': 'g\\',
  'a redirection': 'h > pwned',
  blanks: 'i two  words',
  'a wildcard': 'j*',
  'a variable': 'k$HOME',
  'a brace expansion': 'l{a,b}',
  "fish's command substitution": 'm(touch pwned)',
  "zsh's glob with a command": "n*(e:'touch pwned':)",
};

interface Shell {
  readonly command: readonly string[];
  /** A line that sets the prompts READY and MORE, and loads the completion. */
  readonly begin: string;
  /** The file that the shell reads when xlsnap is first completed, and the line in the place of `begin` then. */
  readonly file: string;
  readonly beginWithFile: string;
  /** Characters that a quote cannot hold: nothing is inserted, so the quote is still open after Enter. */
  readonly impossible?: Readonly<Record<string, RegExp>>;
}

const SHELLS: Readonly<Record<string, Shell>> = {
  bash: {
    command: ['bash', '--norc', '--noprofile', '-i'],
    begin: `PS1='RE''ADY> ' PS2='MO''RE> '; source <(xlsnap completion bash)`,
    file: 'completions/xlsnap',
    beginWithFile: `PS1='RE''ADY> '; BASH_COMPLETION_USER_DIR=$PWD; source /usr/share/bash-completion/bash_completion`,
    impossible: { "'": /'/, '"': /["$`\\!]/ },
  },
  zsh: {
    command: ['zsh', '-f', '-i'],
    begin: `PS1='RE''ADY> ' PS2='MO''RE> '; autoload -Uz compinit; compinit -D -u; eval "$(xlsnap completion zsh)"`,
    file: 'completions/_xlsnap',
    beginWithFile: `PS1='RE''ADY> '; fpath=($PWD/completions $fpath); autoload -Uz compinit; compinit -D -u`,
  },
  fish: {
    command: ['fish', '--no-config', '--interactive'],
    begin: `function fish_prompt; echo -n RE'ADY> '; end; xlsnap completion fish | source`,
    file: 'completions/xlsnap.fish',
    beginWithFile: `function fish_prompt; echo -n RE'ADY> '; end; set --prepend fish_complete_path $PWD/completions`,
  },
};

let daemon: Xlsnapd;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xlsnap-completion-'));
  daemon = await Xlsnapd.start();
  for (const name of Object.values(NAMES)) {
    const xml = `<domainsnapshot><name>${name.replace('>', '&gt;')}</name></domainsnapshot>`;
    await writeFile(join(folder, 'snapshot.xml'), xml);
    await daemon.ok('snapshot-create', 'test', join(folder, 'snapshot.xml'));
  }
  const program = XLSNAP.map((word) => `'${word}'`).join(' ');
  await writeFile(
    join(folder, 'xlsnap'),
    `#!/bin/sh
if [ "$1 $3" = 'completion --' ]; then # whole words, the same for each letter
  [ -e "$2-$5" ] || ${program} "$@" > "$2-$5"
  exec cat "$2-$5"
fi
[ "$1" = completion ] && exec ${program} "$@"
printf '%s\\0' "$@" > argv.new && mv argv.new argv
`,
  );
  await chmod(join(folder, 'xlsnap'), 0o755);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Starts a shell in the folder, with the completion. */
async function start({ command }: Shell, begin: string): Promise<Terminal> {
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, LIBVIRT_DEFAULT_URI: daemon.uri, TERM: 'xterm' };
  const terminal = new Terminal(command, env);
  terminal.press(`cd '${folder}'; ${begin}; echo LOA''DED\n`);
  await terminal.until(/LOADED/);
  return terminal;
}

/** Presses keys; returns the words that xlsnap is run with, and presses `end` if that is needed to close a quote. */
async function wordsOf(terminal: Terminal, keys: string, end?: string): Promise<readonly string[]> {
  const argv = join(folder, 'argv');
  await rm(argv, { force: true });
  const open = terminal.shown.split('MORE> ').length;
  terminal.press(keys);
  if (end !== undefined) {
    await until(() => terminal.shown.split('MORE> ').length > open);
    terminal.press(end);
  }
  await until(() => exists(argv));
  return (await readFile(argv, 'utf8')).split('\0').slice(0, -1);
}

describe.each(Object.entries(SHELLS))('%s', (name, shell) => {
  test.each(['', "'", '"'])('enters every name after %j and its first letter', async (quote) => {
    await using terminal = await start(shell, shell.begin);
    const entered: Record<string, readonly string[]> = {};
    const expected: Record<string, readonly string[]> = {};
    for (const [kind, name] of Object.entries(NAMES)) {
      const impossible = shell.impossible?.[quote]?.test(name) === true;
      const keys = `xlsnap snapshot-info test ${quote}${name[0]}\t\n`;
      entered[kind] = await wordsOf(terminal, keys, impossible ? `${quote}\n` : undefined);
      expected[kind] = ['snapshot-info', 'test', impossible ? `${name[0]}\n` : name];
    }
    expect(entered).toEqual(expected);
    expect(await exists(join(folder, 'pwned'))).toBe(false);
  });

  test('finds the completion in a file of its folder for them, as a package brings it', async () => {
    const path = join(folder, shell.file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, COMPLETION_SCRIPTS.get(name) ?? '');
    await using terminal = await start(shell, shell.beginWithFile);
    for (const _time of ['first', 'second']) {
      expect(await wordsOf(terminal, 'xlsnap snapshot-info test i\t\n')).toEqual([
        'snapshot-info',
        'test',
        NAMES.blanks,
      ]);
    }
  });

  test('enters the name of a file if xlsnap has nothing to offer', async () => {
    await using terminal = await start(shell, shell.begin);
    expect(await wordsOf(terminal, 'xlsnap snapshot-create test snapsh\t\n')).toEqual([
      'snapshot-create',
      'test',
      'snapshot.xml',
    ]);
  });
});
