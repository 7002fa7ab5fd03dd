#!/usr/bin/env node
/** xlsnap: virsh's snapshot commands, and more, over the socket of a libvirt daemon. */

import { readFileSync } from 'node:fs';
import { asLibvirtError } from '../errors.ts';
import { printableLines } from '../model/messages/printable.ts';
import { decodeUtf8 } from '../model/utf8.ts';
import { VERSION } from '../version.ts';
import { parseInvocation, USAGE } from './command-line/global-options.ts';
import { commandHelp, groupsHelp } from './command-line/help.ts';
import { type ParsedCommand, parseCommand, valuesOf } from './command-line/parse.ts';
import { COMMANDS, GROUPS } from './commands.ts';
import { INTERRUPTED, Session } from './session.ts';

/** Returns the exit code. Rejects if the command line is refused, before anything is done. */
async function main(argv: readonly string[]): Promise<number> {
  const invocation = parseInvocation(argv, process.env);
  if (invocation.kind === 'version') process.stdout.write(`${VERSION}\n`);
  if (invocation.kind === 'shell' && process.stdin.isTTY && process.stdout.isTTY) {
    const { runShell } = await import('./shell/shell.ts');
    await runShell(COMMANDS, invocation, [process.execPath, ...process.execArgv, process.argv[1] ?? '']);
  } else if (invocation.kind === 'help' || invocation.kind === 'shell') {
    process.stdout.write(USAGE + groupsHelp(GROUPS));
  }
  if (invocation.kind !== 'command') return 0;
  const parsed = await parseCommand(COMMANDS, invocation.words);
  using session = new Session(invocation);
  return await run(parsed, session);
}

/** Runs the command and reports its error. Ends the output with an empty line in any case, as virsh does. */
async function run(parsed: ParsedCommand, session: Session): Promise<number> {
  try {
    if (parsed.given.has('help')) session.print(commandHelp(parsed.command));
    else await parsed.command.run(valuesOf(parsed), session);
    return session.interrupted ? INTERRUPTED : 0;
  } catch (error) {
    session.error(asLibvirtError(error).message);
    return session.interrupted ? INTERRUPTED : 1;
  } finally {
    session.extra('\n');
  }
}

/** The arguments, also those that are not UTF-8: Node makes other characters of their bytes. */
function givenArguments(): readonly string[] {
  const given = process.argv.slice(2);
  if (!given.some((word) => word.includes('\ufffd'))) return given;
  // In latin1 each character is a byte. All arguments end with a NUL.
  const words = readFileSync('/proc/self/cmdline', 'latin1').split('\0').slice(0, -1);
  return words.slice(-given.length).map((word) => decodeUtf8(Buffer.from(word, 'latin1')));
}

// The reader of the output (a pager, head) has closed it.
process.stdout.on('error', () => process.exit(1));

main(givenArguments()).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    process.stderr.write(`error: ${printableLines(asLibvirtError(error).message)}\n`);
    process.exitCode = 1;
  },
);
