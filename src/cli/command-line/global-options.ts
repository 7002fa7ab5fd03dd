/** Parses the options before the command: those of virsh that apply here. */

import { parseArgs } from 'node:util';
import { defaultUri } from '../../client/address.ts';
import { failure } from '../failure.ts';

/** The request of a whole command line. */
export type Invocation =
  | { readonly kind: 'help' | 'version' }
  /** No command was given. */
  | ({ readonly kind: 'shell' } & ConnectionOptions)
  /** `words`: the command and its arguments. */
  | ({ readonly kind: 'command'; readonly words: readonly string[] } & ConnectionOptions);

interface ConnectionOptions {
  readonly uri: string;
  readonly readOnly: boolean;
  readonly quiet: boolean;
}

/** The head of `xlsnap --help`. */
export const USAGE = `
xlsnap [options]... [<command> [args...]]

  options:
    -c | --connect=URI      hypervisor connection URI
    -h | --help             this help
    -q | --quiet            quiet mode
    -r | --readonly         connect readonly
    -v | --version          version
  commands:

`;

const OPTIONS = {
  connect: { type: 'string', short: 'c' },
  help: { type: 'boolean', short: 'h' },
  quiet: { type: 'boolean', short: 'q' },
  readonly: { type: 'boolean', short: 'r' },
  version: { type: 'boolean', short: 'v' },
} as const;

/** The options as they are written. */
export const OPTION_NAMES: readonly string[] = Object.keys(OPTIONS).map((name) => `--${name}`);

/** Reads options up to the first other word, which is the command; everything after it belongs to the command. */
export function parseInvocation(argv: readonly string[], env: NodeJS.ProcessEnv): Invocation {
  const args = [...argv];
  const { tokens } = parseArgs({ args, options: OPTIONS, strict: false, tokens: true });
  const end = tokens.findIndex(({ kind }) => kind !== 'option');
  const given = new Map<string, string | undefined>();
  for (const token of end < 0 ? tokens : tokens.slice(0, end)) {
    if (token.kind !== 'option') break;
    const option = OPTIONS[token.name as keyof typeof OPTIONS];
    const takesNone = option?.type === 'boolean' && token.value !== undefined;
    if (!option || takesNone) throw failure(`unsupported option '${token.rawName}'. See --help.`);
    if (option.type === 'string' && token.value === undefined) {
      throw failure(`option '-${option.short}'/'--${token.name}' requires an argument`);
    }
    given.set(token.name, token.value);
  }
  const command = tokens[end];
  const words = command ? args.slice(command.kind === 'positional' ? command.index : command.index + 1) : [];
  if (given.has('version')) return { kind: 'version' };
  if (given.has('help')) return { kind: 'help' };
  const uri = given.get('connect') || defaultUri(env);
  const options = { uri, readOnly: given.has('readonly'), quiet: given.has('quiet') };
  return words.length === 0 ? { kind: 'shell', ...options } : { kind: 'command', ...options, words };
}
