#!/usr/bin/env node
/** xlsnap: virsh's snapshot commands, and more, over the socket of a libvirt daemon. */

import { asLibvirtError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { parseInvocation, USAGE } from './command-line/global-options.ts';
import { commandHelp, groupsHelp } from './command-line/help.ts';
import { type ParsedCommand, parseCommand, valuesOf } from './command-line/parse.ts';
import { COMMANDS, GROUPS } from './commands.ts';
import { INTERRUPTED, Session } from './session.ts';

/** Resolves with the exit code. Rejects where the command line is refused: nothing has been done then. */
async function main(argv: readonly string[]): Promise<number> {
  const invocation = parseInvocation(argv, process.env);
  if (invocation.kind === 'version') process.stdout.write(`${VERSION}\n`);
  if (invocation.kind === 'help') process.stdout.write(USAGE + groupsHelp(GROUPS));
  if (invocation.kind !== 'command') return 0;
  const parsed = parseCommand(COMMANDS, invocation.words);
  using session = new Session(invocation);
  return await run(parsed, session);
}

/** What ends here with an error has already been started: the line that ends all output comes all the same, as in virsh. */
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

// Whoever reads the output has had enough of it (a pager, head).
process.stdout.on('error', () => process.exit(1));

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    process.stderr.write(`error: ${asLibvirtError(error).message}\n`);
    process.exitCode = 1;
  },
);
