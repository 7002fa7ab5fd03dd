/** `completion`: prints a script for the shell, and the words that it asks for. Asks the daemon for domains and snapshots. */

import { isPrintable } from '../../model/messages/printable.ts';
import { failure } from '../failure.ts';
import { Session } from '../session.ts';
import { type Command, type CommandBody, type CommandEntry, command, loadCommand, type OptionDef } from './command.ts';
import { type Invocation, OPTION_NAMES, parseInvocation } from './global-options.ts';
import { type ReadArguments, readArguments } from './parse.ts';
import { completed, readLine } from './shell-words.ts';

/** Timeout of the daemon's answer: the shell waits for it. */
const ANSWER_TIMEOUT_MS = 3_000;

const BASH = `# bash completion for xlsnap: eval "$(xlsnap completion bash)"
_xlsnap() {
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" completion bash --line "\${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -F _xlsnap xlsnap
`;

/** `commands`: those that are completed. */
export function completionCommand(commands: readonly CommandEntry[]): CommandBody {
  return command({
    description: 'Prints a script for the shell: eval "$(xlsnap completion bash)"',
    options: [
      { name: 'shell', type: 'data', help: 'bash', completes: ['bash'] },
      { name: 'line', type: 'string', named: true, help: 'for the script: print what may follow this command line' },
    ],
    async run({ shell, line }, session) {
      if (shell !== 'bash') throw failure(`no completion for '${shell}': there is one for bash`);
      if (line === undefined) session.print(BASH);
      else session.lines(await complete(commands, line, process.env));
    },
  });
}

/** Returns texts for the shell to insert at the line's end. None if the line is wrong or the daemon does not answer. */
async function complete(
  commands: readonly CommandEntry[],
  line: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const { words, current, kept, quote } = readLine(line);
  const found = await candidates(commands, words.slice(1), current, env).catch(() => []);
  return found
    .filter((candidate) => candidate.startsWith(current) && isPrintable(candidate))
    .flatMap((candidate) => completed(candidate.slice(kept), quote));
}

/** Returns whole words, whether or not they begin like `current`. */
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
