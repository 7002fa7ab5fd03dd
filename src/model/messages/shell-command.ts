/**
 * Commands that messages print, so that somebody can paste them into a shell. Names and paths in them come from clients,
 * images and folders: a shell must read each as one word, and a terminal must show it as it is.
 */

import { encodeUtf8 } from '../utf8.ts';
import { isPrintable } from './printable.ts';

/** Characters that mean nothing to a shell, anywhere in a word. */
const PLAIN = /^[\p{L}\p{N}\p{M}_@%+:,./-]+$/u;

/** Returns the text as one word for any POSIX shell: itself, or quoted. The result is printable and on one line. */
export function shellWord(text: string): string {
  if (!isPrintable(text)) return printfWord(text);
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the command of these words. */
export function shellCommand(...words: readonly string[]): string {
  return words.map(shellWord).join(' ');
}

/** A command of virsh or xlsnap about a domain. */
interface DomainCommand {
  readonly program: 'virsh' | 'xlsnap';
  readonly command: string;
  readonly domain: { readonly name: string; readonly uuid: string };
  /** Arguments after the domain: names, or words of virsh. */
  readonly args?: readonly string[];
  /** Flags, `--metadata`. */
  readonly options?: readonly string[];
}

/** A domain's name that virsh would take for an id or a UUID. */
const AMBIGUOUS = /^(\s*\+?\d+|[0-9a-f-]{32,36})$/i;

/**
 * Returns a command about a domain, by its UUID if virsh would look its name up as something else. If an argument looks like
 * an option, `--` ends the options before it.
 */
export function domainCommand({ program, command, domain, args = [], options = [] }: DomainCommand): string {
  const names = [AMBIGUOUS.test(domain.name) ? domain.uuid : domain.name, ...args];
  const looksLikeOption = names.some((name) => name.startsWith('-'));
  return looksLikeOption
    ? shellCommand(program, command, ...options, '--', ...names)
    : shellCommand(program, command, ...names, ...options);
}

/**
 * A word with characters that must not be printed: printf(1) writes them, by their octal numbers. A command substitution
 * drops newlines at its end, so those are taken from $IFS, whose third character is one.
 */
function printfWord(text: string): string {
  const body = text.replace(/\n+$/, '');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours
  const newlines = '"${IFS#??}"'.repeat(text.length - body.length);
  const format = body.replace(/[^\p{L}\p{N}\p{M}_@+:,./ -]|^-/gu, octal);
  return body === '' ? newlines : `"$(printf '${format}')"${newlines}`;
}

function octal(character: string): string {
  // Some shells turn the numbers into characters before they look for conversions.
  if (character === '%') return '%%';
  return [...encodeUtf8(character)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
