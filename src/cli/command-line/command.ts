/** Defines a command of xlsnap: its help, its options as virsh describes its own (vshCmdOptDef), its work. */

import { failure } from '../failure.ts';
import type { Session } from '../session.ts';

/**
 * `data` is required, `string` optional; both may be given without their name, in the table's order. `argv` takes all
 * remaining words. `bool` is a flag.
 */
export interface OptionDef {
  readonly name: string;
  /** The letter of `-n`, for options that the xl tool's users know by one. */
  readonly short?: string;
  readonly type: 'data' | 'string' | 'argv' | 'bool';
  readonly help: string;
  /** A string that must be given by name. */
  readonly named?: true;
  /** Its possible values, for completion. */
  readonly completes?: 'domain' | 'snapshot' | 'command' | readonly string[];
}

/** The value of an option: false for a flag that was not given, undefined for other options. */
type ValueOf<O extends OptionDef> = O['type'] extends 'bool'
  ? boolean
  : O['type'] extends 'argv'
    ? readonly string[]
    : O['type'] extends 'data'
      ? string
      : string | undefined;

/** The values of a table of options, by name. */
export type Values<Options extends readonly OptionDef[]> = {
  readonly [O in Options[number] as O['name']]: ValueOf<O>;
};

/** A command as the list of commands shows it. The rest is loaded when it is needed: the shell waits at each Tab. */
export interface CommandEntry {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly help: string;
  load(): Promise<CommandBody>;
}

/** What a command's own module declares, whatever its options. */
export interface CommandBody {
  readonly description: string;
  readonly options: readonly OptionDef[];
  /** Rejects with a LibvirtError, whose message is the last line that the user sees. */
  run(values: Readonly<Record<string, unknown>>, session: Session): Promise<void>;
}

/** A command with all its parts. */
export interface Command extends CommandBody, Pick<CommandEntry, 'name' | 'help'> {}

/** Loads the rest of a command. */
export async function loadCommand({ name, help, load }: CommandEntry): Promise<Command> {
  return { name, help, ...(await load()) };
}

interface CommandDef<Options extends readonly OptionDef[]> extends Omit<CommandBody, 'run'> {
  readonly options: Options;
  run(values: Values<Options>, session: Session): Promise<void>;
}

/** Declares the body of a command: `run` gets the options' values by name, with the types of the table. */
export function command<const Options extends readonly OptionDef[]>(definition: CommandDef<Options>): CommandBody {
  return { ...definition, run: (values, session) => definition.run(values as Values<Options>, session) };
}

/** The first option of all commands about a domain. */
export const DOMAIN = { name: 'domain', type: 'data', help: 'domain name, id or uuid', completes: 'domain' } as const;

/** For every command that prints something: prints JSON instead of virsh's text. */
export const JSON_OPTION = { name: 'json', type: 'bool', help: 'print JSON' } as const;

/** Refuses two options together, in virsh's words (VSH_EXCLUSIVE_OPTIONS). */
export function exclusive(values: Readonly<Record<string, unknown>>, first: string, second: string): void {
  if (isGiven(values[first]) && isGiven(values[second])) {
    throw failure(`Options --${first} and --${second} are mutually exclusive`);
  }
}

const isGiven = (value: unknown): boolean => value !== undefined && value !== false;
