/**
 * The terminal of `xlsnap` without a command, as virsh has it. Each command is a process of its own, with the terminal for
 * itself: Ctrl-C, an editor, and whatever ends it concern this command alone.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { asLibvirtError } from '../../errors.ts';
import type { CommandEntry } from '../command-line/command.ts';
import { replacements } from '../command-line/completion.ts';
import type { Invocation } from '../command-line/global-options.ts';
import { parseCommand } from '../command-line/parse.ts';
import { completed, readLine } from '../command-line/shell-words.ts';
import { Session } from '../session.ts';
import { HISTORY_SIZE, historyFile, readHistory, writeHistory } from './history.ts';
import { lastCommand, lineCommands } from './line-commands.ts';

const WELCOME = `Welcome to xlsnap, the interactive terminal for snapshots.

Type:  'help' for help with commands
       'quit' to quit

`;

/** Commands of the terminal alone. */
const QUIT: readonly string[] = ['quit', 'exit'];

/** What `xlsnap` was started with. */
type ShellInvocation = Extract<Invocation, { kind: 'shell' }>;

/** Reads and runs lines until `quit` or Ctrl-D. `program`: the command line that starts xlsnap. */
export async function runShell(
  commands: readonly CommandEntry[],
  invocation: ShellInvocation,
  program: readonly string[],
): Promise<void> {
  using session = new Session(invocation);
  const prefix = [...program, ...globalOptions(invocation)];
  const terminal = open(commands, prefix.slice(program.length), session);
  session.extra(WELCOME);
  terminal.setPrompt(invocation.readOnly ? 'xlsnap > ' : 'xlsnap # ');
  terminal.prompt();
  for await (const line of terminal) {
    const todo = await parse(commands, line).catch((error) => session.error(asLibvirtError(error).message));
    for (const words of todo ?? []) {
      if (isQuit(words)) return terminal.close();
      await run([...prefix, ...words], terminal);
    }
    terminal.prompt();
  }
  // Ctrl-D: the next prompt, of another program, begins in a line of its own.
  session.draw('\n');
}

function globalOptions({ uri, readOnly, quiet }: ShellInvocation): readonly string[] {
  return ['--connect', uri, ...(readOnly ? ['--readonly'] : []), ...(quiet ? ['--quiet'] : [])];
}

const isQuit = ([name]: readonly string[]): boolean => QUIT.includes(name ?? '');

/** Returns the commands of a line. Rejects, as virsh does, before the first is run if one of them is refused. */
async function parse(commands: readonly CommandEntry[], line: string): Promise<readonly (readonly string[])[]> {
  const todo = lineCommands(line);
  for (const words of todo) if (!isQuit(words)) await parseCommand(commands, words);
  return todo;
}

/** Runs a program that has the terminal until it ends. */
async function run([program = '', ...args]: readonly string[], terminal: Interface): Promise<void> {
  terminal.pause();
  process.stdin.setRawMode(false);
  process.on('SIGINT', leaveToCommand);
  try {
    const [, signal] = await once(spawn(program, args, { stdio: 'inherit' }), 'close');
    if (signal) process.stdout.write('\n');
  } finally {
    process.off('SIGINT', leaveToCommand);
    process.stdin.setRawMode(true);
    terminal.resume();
  }
}

/** Ctrl-C goes to the command, too, which ends or cancels by its own rules. */
function leaveToCommand(): void {}

/** Returns the line editor: with history, completion, and Ctrl-C that leaves the line. */
function open(commands: readonly CommandEntry[], options: readonly string[], session: Session): Interface {
  const file = historyFile(process.env);
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: true,
    history: readHistory(file),
    historySize: HISTORY_SIZE,
    removeHistoryDuplicates: true,
    completer: (line: string, answer: (error: null, result: [string[], string]) => void) => {
      complete(commands, options, lastCommand(line)).then((result) => answer(null, result));
    },
  });
  terminal.on('SIGINT', () => {
    session.draw('^C\n');
    terminal.write(null, { ctrl: true, name: 'u' });
    terminal.prompt();
  });
  let writing = true;
  terminal.on('history', (lines: readonly string[]) => {
    try {
      if (writing) writeHistory(file, lines);
    } catch (error) {
      writing = false;
      session.note(`note: the history is not kept: ${(error as Error).message}`);
    }
  });
  return terminal;
}

/** Returns the words that may be at the end of an unfinished command, and what is there of them, quoted alike. */
async function complete(
  commands: readonly CommandEntry[],
  options: readonly string[],
  line: string,
): Promise<[string[], string]> {
  const { words, current, kept, quote } = readLine(line);
  const own = words.length === 0 ? QUIT : [];
  const found = [...own, ...(await replacements(commands, ['xlsnap', ...options, ...words, current], process.env))];
  const written = (word: string) => completed(word.slice(kept), quote);
  const matching = found.filter((word) => word.startsWith(current)).flatMap(written);
  const only = matching.length === 1 ? matching.map((word) => `${word}${quote} `) : matching;
  return [only, written(current).join('')];
}
