/** Completion in a real bash on a terminal: Tab and Enter run xlsnap with the name, and nothing that is in the name. */

import { access, chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

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
};

/** Characters that each quote cannot hold. */
const IMPOSSIBLE: Readonly<Record<string, RegExp>> = { '': /(?!)/, "'": /'/, '"': /["$`\\!]/ };

let daemon: Xlsnapd;
let folder: string;
const argv = () => join(folder, 'argv');

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
    `#!/bin/sh\n[ "$1" = completion ] && exec ${program} "$@"\nprintf '%s\\0' "$@" > argv.new && mv argv.new argv\n`,
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

describe.each(['', "'", '"'])('inside %j', (quote) => {
  test.each(Object.entries(NAMES))('a name with %s', async (_what, name) => {
    await rm(argv(), { force: true });
    const env = { PATH: `${folder}:${process.env.PATH}`, LIBVIRT_DEFAULT_URI: daemon.uri, TERM: 'xterm' };
    await using terminal = new Terminal(['bash', '--norc', '--noprofile', '-i'], env);
    terminal.press(`cd '${folder}'; PS1='RE''ADY> ' PS2='MO''RE> '; source <(xlsnap completion bash); echo o''k\n`);
    await terminal.until(/^ok/m);
    terminal.press(`xlsnap snapshot-info test ${quote}${name[0]}\t\n`);
    if (IMPOSSIBLE[quote]?.test(name)) {
      // Nothing is inserted, so the quote is still open.
      await terminal.until(/MORE> /);
    } else {
      while (!(await exists(argv()))) await delay(20);
      expect((await readFile(argv(), 'utf8')).split('\0')).toEqual(['snapshot-info', 'test', name, '']);
    }
    expect(await exists(join(folder, 'pwned'))).toBe(false);
  });
});
