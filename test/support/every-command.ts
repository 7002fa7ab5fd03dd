import { type Command, loadCommand } from '../../src/cli/command-line/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';

/** Loads all commands of xlsnap, one after another: jest cannot load modules that share others at the same time. */
export async function everyCommand(): Promise<readonly Command[]> {
  const loaded: Command[] = [];
  for (const entry of COMMANDS) loaded.push(await loadCommand(entry));
  return loaded;
}
