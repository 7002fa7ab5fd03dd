/** Splits a command line up to the cursor as the shell does, for completion. */

interface UnfinishedLine {
  /** The finished words, unquoted. */
  readonly words: readonly string[];
  /** The word at the cursor, unquoted; empty after a blank. */
  readonly current: string;
  /** Number of its characters that the shell does not replace: up to a COMP_WORDBREAKS character, or to the open quote. */
  readonly kept: number;
  /** The quote that is still open, or nothing. */
  readonly quote: string;
}

/** A quoted piece, a character after a backslash, a blank or a plain character. */
const PIECE = /'([^']*)('|$)|"((?:\\.|[^"\\]|\\$)*)("|$)|\\(.?)|(\s+)|(.)/gsu;

/** Reads a line that may be incomplete. */
export function readLine(line: string): UnfinishedLine {
  const words: string[] = [];
  let current: string | undefined;
  let kept = 0;
  let quote = '';
  for (const [, single, singleEnd, double, doubleEnd, escaped, blank, plain] of line.matchAll(PIECE)) {
    if (blank !== undefined) {
      if (current !== undefined) words.push(current);
      current = undefined;
      kept = 0;
      continue;
    }
    current = (current ?? '') + (single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? plain ?? '');
    if (plain !== undefined && /[=:]/.test(plain)) kept = current.length;
    quote = singleEnd === '' ? "'" : doubleEnd === '' ? '"' : '';
  }
  return { words, current: current ?? '', kept, quote };
}

/** Characters that end a quote, or that the shell does not take literally inside it: `!` is history expansion. */
const SPECIAL_INSIDE: Readonly<Record<string, RegExp>> = { "'": /'/, '"': /["$`\\!]/ };

/**
 * Returns the text to insert at the cursor, so that the shell reads it literally: escaped outside quotes, as it is inside an
 * open quote. Returns nothing if the quote cannot hold it.
 */
export function completed(text: string, quote: string): readonly string[] {
  if (quote) return SPECIAL_INSIDE[quote]?.test(text) ? [] : [text];
  return [text.replace(/[^\p{L}\p{N}\p{M}_@%+=:,./-]/gu, '\\$&')];
}
