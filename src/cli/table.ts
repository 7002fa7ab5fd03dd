/** virsh's tables (vsh-table.c): columns as wide as their widest cell, and what a terminal cannot show escaped. */

/** A headline, a rule and the rows, or the rows alone. Cells line up as they show on a terminal. */
export function formatTable(
  headline: readonly string[],
  rows: readonly (readonly string[])[],
  { quiet }: { readonly quiet: boolean },
): string {
  const table = [headline, ...rows].map((row) => row.map(printable));
  const widths = headline.map((_, column) => Math.max(...table.map((row) => width(row[column] ?? ''))));
  const [first = '', ...lines] = table.map((row) => line(row, widths));
  const rule = '-'.repeat(widths.reduce((sum, columns) => sum + columns + GAP, 0));
  return [...(quiet ? [] : [first, rule]), ...lines].map((text) => `${text}\n`).join('');
}

/** Blanks around a cell. */
const GAP = 3;

function line(cells: readonly string[], widths: readonly number[]): string {
  const last = cells.length - 1;
  return cells
    .map((cell, at) => ` ${cell}${at === last ? '' : ' '.repeat((widths[at] ?? 0) - width(cell) + GAP - 1)}`)
    .join('');
}

/** Control characters as the bytes they are: `\x09`. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

const INVISIBLE = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
/** East Asian wide and full-width characters, and emoji (UAX #11), as wcwidth has them. */
const WIDE =
  /^[\u1100-\u115f\u231a\u231b\u2329\u232a\u23e9-\u23ec\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{1fa70}-\u{1faff}\u{20000}-\u{3fffd}]$/u;

/** Columns that a terminal needs. */
function width(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  return [...text].reduce((sum, character) => sum + widthOf(character), 0);
}

function widthOf(character: string): number {
  if (INVISIBLE.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
