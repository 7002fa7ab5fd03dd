/** Texts for terminals and logs, which names from clients and images must not control. */

import { encodeUtf8 } from '../utf8.ts';

/** Control characters (C0, C1, DEL), line and paragraph separators, marks that turn the direction of text, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]/gu;

/** Returns the text with unprintable characters as the bytes of their UTF-8, in the form of virsh's tables: `\x1b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, bytesOf);
}

/** The same for a text of several lines, which keeps its line ends and tabs. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE, (character) => (/[\n\t]/.test(character) ? character : bytesOf(character)));
}

/** Returns JSON that means the same, with unprintable characters as JSON escapes them: `\u202e`. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** True for a text without unprintable characters. */
export function isPrintable(text: string): boolean {
  return text.search(UNPRINTABLE) === -1;
}

/** By character: there are few of them, and a client may send a name of many. */
const shown = new Map<string, string>();

function bytesOf(character: string): string {
  const known = shown.get(character);
  if (known !== undefined) return known;
  const bytes = [...encodeUtf8(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  shown.set(character, bytes);
  return bytes;
}
