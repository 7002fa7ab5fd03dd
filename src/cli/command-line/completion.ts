/** `completion`: prints a script for the shell, and the words that it asks for. Asks the daemon for domains and snapshots. */

import { isPrintable } from '../../model/messages/printable.ts';
import { failure } from '../failure.ts';
import { Session } from '../session.ts';
import { type Command, type CommandBody, type CommandEntry, command, loadCommand, type OptionDef } from './command.ts';
import { COMPLETION_SCRIPTS } from './completion-scripts.ts';
import { type Invocation, OPTION_NAMES, parseInvocation } from './global-options.ts';
import { type ReadArguments, readArguments } from './parse.ts';
import { completed, readLine } from './shell-words.ts';

/** Timeout of the daemon's answer: the shell waits for it. */
const ANSWER_TIMEOUT_MS = 3_000;

/** `commands`: those that are completed. */
export function completionCommand(commands: readonly CommandEntry[]): CommandBody {
  return command({
    description:
      'Prints a script for the shell: eval "$(xlsnap completion bash)", the same for zsh (after compinit), and ' +
      'xlsnap completion fish | source',
    options: [
      { name: 'shell', type: 'data', help: 'bash, zsh or fish', completes: [...COMPLETION_SCRIPTS.keys()] },
      { name: 'line', type: 'string', named: true, help: "for bash's script: print what may follow this command line" },
      { name: 'words', type: 'argv', help: 'for the other scripts: print what may be in the place of the last word' },
    ],
    async run({ shell, line, words }, session) {
      const script = COMPLETION_SCRIPTS.get(shell);
      if (script === undefined) throw failure(`no completion for '${shell}': there is one for bash, zsh and fish`);
      if (line !== undefined) session.lines(await insertions(commands, line, process.env));
      else if (words.length > 0) session.lines(await replacements(commands, words, process.env));
      else session.print(script);
    },
  });
}

/** Returns texts to insert at the line's end. None if the line is wrong or the daemon does not answer. */
async function insertions(
  commands: readonly CommandEntry[],
  line: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const { words, current, kept, quote } = readLine(line);
  const found = await replacements(commands, [...words, current], env);
  return found
    .filter((candidate) => candidate.startsWith(current))
    .flatMap((candidate) => completed(candidate.slice(kept), quote));
}

/** Returns whole words for the place of the last one, whether or not they begin like it. None in the same cases. */
export async function replacements(
  commands: readonly CommandEntry[],
  line: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const found = await candidates(commands, line.slice(1, -1), line.at(-1) ?? '', env).catch(() => []);
  return found.filter(isPrintable);
}

async function candidates(
  commands: readonly CommandEntry[],
  words: readonly string[],
  current: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  // A dot stands for the word at the cursor, which may be the value of an option before the command.
  const invocation = parseInvocation([...words, '.'], env);
  if (invocation.kind !== 'command') return [];
  const [name, ...args] = invocation.words.slice(0, -1);
  if (name === undefined) return current.startsWith('-') ? OPTION_NAMES : commands.map((known) => known.name);
  const entry = commands.find((known) => known.name === name);
  if (!entry) return [];
  const chosen = await loadCommand(entry);
  const [option, prefix] = /^(--[^=]+=)/.exec(current) ?? [];
  const read = readArguments(chosen, option ? [...args, option.slice(0, -1)] : args);
  const wanted = read.wanting ?? (current.startsWith('-') ? undefined : read.place);
  if (!wanted) return optionNames(chosen, read);
  const values = await valuesFor(wanted, read, commands, invocation);
  return values.map((value) => `${prefix ?? ''}${value}`);
}

function optionNames({ options }: Command, { given }: ReadArguments): readonly string[] {
  const open = options.filter(({ name, type }) => type === 'argv' || !given.has(name));
  return [...open.map(({ name }) => `--${name}`), '--help'];
}

async function valuesFor(
  { completes }: OptionDef,
  { given }: ReadArguments,
  commands: readonly CommandEntry[],
  invocation: Extract<Invocation, { kind: 'command' }>,
): Promise<readonly string[]> {
  if (completes === undefined) return [];
  if (completes === 'command') return commands.map(({ name }) => name);
  if (completes !== 'domain' && completes !== 'snapshot') return completes;
  using session = new Session({ ...invocation, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  const client = await session.client();
  if (completes === 'domain') return (await client.listAllDomains()).map(({ name }) => name);
  const domain = await session.domain(String(given.get('domain')));
  return (await client.snapshots.listAll(domain, 0)).map(({ name }) => name);
}
