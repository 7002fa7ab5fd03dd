// npm run man: writes the commands' part of man/xlsnap.1 from the tables in src/cli that the program itself uses.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PAGE = join(import.meta.dirname, '../man/xlsnap.1');
const BEGIN = '.\\" `npm run man` writes the lines up to the end of the commands from the tables in src/cli.\n';
const END = '.\\" end of the commands\n';

/** Text as roff prints it: no hyphenation marks, no requests. */
const roff = (text) => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/gm, '\\&$&');

/** `-n, ` in front of the name, if the option has a letter. */
const letter = (short) => (short === undefined ? '' : `\\-${short} ", " `);

const OPTION = {
  bool: ({ name, short }) => `${short === undefined ? '.B' : '.BR'} ${letter(short)}\\-\\-${roff(name)}`,
  string: ({ name, short }) => `.BR ${letter(short)}\\-\\-${roff(name)} " \\fISTRING\\fR"`,
  data: ({ name }) => `.RB [ \\-\\-${roff(name)} "] \\fISTRING\\fR"`,
  argv: ({ name }) => `.RB [ \\-\\-${roff(name)} "] \\fISTRING\\fR..."`,
};

async function commandSection({ name, load }) {
  const { description, options } = await load();
  return [
    '.TP',
    `.B ${roff(name)}`,
    `${roff(description)}${/[.!?]$/.test(description) ? '' : '.'}`,
    ...(options.length > 0
      ? ['.RS', ...options.flatMap((option) => ['.TP', OPTION[option.type](option), roff(option.help)]), '.RE']
      : []),
    '',
  ].join('\n');
}

async function groupSection({ title, commands }) {
  const sections = [];
  for (const command of commands) sections.push(await commandSection(command));
  return [`.SS ${roff(title)}\n`, ...sections].join('');
}

/** The page with its commands' part written again. */
export async function withCommands(page, groups) {
  const [before, rest] = page.split(BEGIN);
  const [, after] = (rest ?? '').split(END);
  if (after === undefined) throw new Error(`${PAGE} lacks the lines that mark the commands' part`);
  const sections = [];
  for (const group of groups) sections.push(await groupSection(group));
  return [before, BEGIN, ...sections, END, after].join('');
}

if (process.argv[1] === import.meta.filename) {
  const { GROUPS } = await import('../dist/cli/commands.js');
  writeFileSync(PAGE, await withCommands(readFileSync(PAGE, 'utf8'), GROUPS));
}
