/**
 * Parses command lines by virsh's rules (vshCommandParse): options by name or by position, and virsh's messages; a few
 * options have a letter, too, which virsh's have not.
 */

import { failure } from '../failure.ts';
import { type Command, type CommandEntry, loadCommand, type OptionDef } from './command.ts';

/** An option of every command; with it, missing arguments are accepted. */
const HELP: OptionDef = { name: 'help', type: 'bool', help: 'print help for this function' };

/** Values by option name: true, a string, or the strings of an argv. */
type Given = Map<string, true | string | string[]>;

/** A command with its given options. */
export interface ParsedCommand {
  readonly command: Command;
  readonly given: ReadonlyMap<string, true | string | readonly string[]>;
}

/** Reads a command and its arguments. Rejects what virsh refuses before it runs a command. */
export async function parseCommand(
  commands: readonly CommandEntry[],
  [name, ...args]: readonly string[],
): Promise<ParsedCommand> {
  const entry = commands.find((known) => known.name === name);
  if (!entry) throw failure(`unknown command: '${name}'`);
  const command = await loadCommand(entry);
  const { given, wanting } = readArguments(command, args);
  if (wanting) throw failure(`expected syntax: --${wanting.name} <string>`);
  if (!given.has('help')) requireAll(command, given);
  return { command, given };
}

/** A command line that may be incomplete. */
export interface ReadArguments {
  readonly given: ParsedCommand['given'];
  /** The last option, if its value is missing. */
  readonly wanting: OptionDef | undefined;
  /** The option that would take the next word by position. */
  readonly place: OptionDef | undefined;
}

/** Reads arguments that may be incomplete. Refuses those that further words cannot complete. */
export function readArguments(command: Command, words: readonly string[]): ReadArguments {
  const args = [...words];
  const given: Given = new Map();
  const places = command.options.filter(({ type, named }) => type !== 'bool' && !named);
  const place = () => places.find(({ name, type }) => type === 'argv' || !given.has(name));
  let dataOnly = false;
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    const letter = command.options.find(({ short }) => !dataOnly && short !== undefined && arg === `-${short}`);
    if (!dataOnly && arg === '--') {
      dataOnly = true;
    } else if (letter || (!dataOnly && /^--[a-zA-Z0-9]/.test(arg))) {
      const { option, inline } = named(command, letter ? `--${letter.name}` : arg, given);
      const value = option.type === 'bool' ? flag(option, inline) : (inline ?? args.shift());
      if (value === undefined) return { given, wanting: option, place: place() };
      give(given, option, value);
    } else {
      const option = place();
      if (!option) throw failure(`unexpected data '${arg}'`);
      give(given, option, arg);
    }
  }
  return { given, wanting: undefined, place: place() };
}

/** Reads `--name` or `--name=value`. */
function named(command: Command, arg: string, given: Given): { option: OptionDef; inline: string | undefined } {
  const [, name = '', inline] = /^--([^=]*)(?:=(.*))?$/s.exec(arg) ?? [];
  const option = [HELP, ...command.options].find((known) => known.name === name);
  if (!option) throw failure(`command '${command.name}' doesn't support option --${name}`);
  if (given.has(name) && option.type !== 'argv') throw failure(`option --${name} already seen`);
  return { option, inline };
}

function flag({ name }: OptionDef, inline: string | undefined): true {
  if (inline !== undefined) throw failure(`invalid '=' after option --${name}`);
  return true;
}

function give(given: Given, { name, type }: OptionDef, value: true | string): void {
  if (type !== 'argv' || value === true) given.set(name, value);
  else given.set(name, [...((given.get(name) as string[] | undefined) ?? []), value]);
}

function requireAll({ name, options }: Command, given: ReadArguments['given']): void {
  const missing = options.filter((option) => option.type === 'data' && !given.has(option.name));
  if (missing.length === 0) return;
  throw failure(missing.map((option) => `command '${name}' requires <${option.name}> option`).join('\nerror: '));
}

/**
 * Returns the values for a command's `run`. Refuses an empty string, at the moment when virsh refuses it: as the
 * command runs.
 */
export function valuesOf({ command, given }: ParsedCommand): Readonly<Record<string, unknown>> {
  const values = command.options.map(({ name, type }) => {
    const value = given.get(name) ?? { bool: false, argv: [], data: undefined, string: undefined }[type];
    if (value === '') throw failure(`Failed to get option '${name}': Option argument is empty`);
    return [name, value] as const;
  });
  return Object.fromEntries(values);
}
