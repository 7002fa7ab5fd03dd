/** Help in virsh's layout (vshCmddefHelp, vshCmdGrpHelp). */

import { failure } from '../failure.ts';
import { type Command, type CommandBody, type CommandEntry, command, loadCommand, type OptionDef } from './command.ts';

/** A group of commands in the help. */
export interface CommandGroup {
  readonly title: string;
  /** The argument of `help` for the group. */
  readonly keyword: string;
  readonly commands: readonly CommandEntry[];
}

function groupHelp({ title, keyword, commands }: CommandGroup): string {
  const rows = commands.map(({ name, help }) => `    ${name.padEnd(30)} ${help}\n`);
  return ` ${title} (help keyword '${keyword}'):\n${rows.join('')}`;
}

/** Lists all groups, with an empty line after each. */
export function groupsHelp(groups: readonly CommandGroup[]): string {
  return groups.map((group) => `${groupHelp(group)}\n`).join('');
}

/** Returns the help of one command. */
export function commandHelp({ name, help, description, options }: Command): string {
  const synopsis = [name, ...options.map((option) => SYNOPSIS[option.type](option.name))].join(' ');
  const rows = options.map((option) => `    ${optionColumn(option).padEnd(15)}  ${option.help}\n`).join('');
  return (
    `  NAME\n    ${name} - ${help}\n\n  SYNOPSIS\n    ${synopsis}\n\n  DESCRIPTION\n    ${description}\n` +
    `${rows && `\n  OPTIONS\n${rows}`}\n`
  );
}

const SYNOPSIS: Readonly<Record<OptionDef['type'], (name: string) => string>> = {
  bool: (name) => `[--${name}]`,
  string: (name) => `[--${name} <string>]`,
  data: (name) => `<${name}>`,
  argv: (name) => `[[--${name}] <string>]...`,
};

function optionColumn({ name, short, type }: OptionDef): string {
  const named = short === undefined ? `--${name}` : `-${short} | --${name}`;
  if (type === 'bool') return named;
  return type === 'string' ? `${named} <string>` : `[${named}] <string>`;
}

/** The command `help`, which describes all commands, a group, or one command. */
export function helpCommand(groups: readonly CommandGroup[]): CommandBody {
  return command({
    description: 'Prints global help, command specific help, or help for a group of related commands',
    options: [
      {
        name: 'command',
        type: 'string',
        help: 'Prints global help, command specific help, or help for a group of related commands',
        completes: 'command',
      },
    ],
    async run({ command: asked }, session) {
      if (asked === undefined) {
        session.print(`Grouped commands:\n\n${groupsHelp(groups)}`);
        return;
      }
      const group = groups.find(({ keyword }) => keyword === asked);
      const one = groups.flatMap(({ commands }) => commands).find(({ name }) => name === asked);
      if (!group && !one) throw failure(`command or command group '${asked}' doesn't exist`);
      session.print(group ? groupHelp(group) : one ? commandHelp(await loadCommand(one)) : '');
    },
  });
}
