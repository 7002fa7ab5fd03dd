/** A command line as the shell sees it, up to the cursor: what completion has to go by. */

interface UnfinishedLine {
  /** The finished words, unquoted. */
  readonly words: readonly string[];
  /** The word at the cursor, unquoted; empty after a blank. */
  readonly current: string;
  /** How many characters of it the shell takes for words of their own (COMP_WORDBREAKS), and will not replace. */
  readonly kept: number;
  /** A quote that is still open: what is inserted is not to be quoted again. */
  readonly quote: string;
}

/** A quoted piece, a character after a backslash, a blank or a plain character. */
const PIECE = /'([^']*)('|$)|"((?:\\.|[^"\\]|\\$)*)("|$)|\\(.?)|(\s+)|(.)/gsu;

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

/** As a word of a command line; within an open quote as it is. */
export function quoted(text: string, quote: string): string {
  return quote ? text : text.replace(/[^\p{L}\p{N}\p{M}_@%+=:,./-]/gu, '\\$&');
}
