/** virsh's tables (vsh-table.c): columns as wide as their widest cell, and what a terminal cannot show escaped. */

import { printable } from '../../model/messages/printable.ts';
import { displayWidth } from './display-width.ts';

/** A headline, a rule and the rows, or the rows alone. Cells line up as they show on a terminal. */
export function formatTable(
  headline: readonly string[],
  rows: readonly (readonly string[])[],
  { quiet }: { readonly quiet: boolean },
): string {
  const table = [headline, ...rows].map((row) => row.map(printable));
  const widths = headline.map((_, column) => Math.max(...table.map((row) => displayWidth(row[column] ?? ''))));
  const [first = '', ...lines] = table.map((row) => line(row, widths));
  const rule = '-'.repeat(widths.reduce((sum, columns) => sum + columns + GAP, 0));
  return [...(quiet ? [] : [first, rule]), ...lines].map((text) => `${text}\n`).join('');
}

/** Blanks around a cell. */
const GAP = 3;

function line(cells: readonly string[], widths: readonly number[]): string {
  const last = cells.length - 1;
  return cells
    .map((cell, at) => ` ${cell}${at === last ? '' : ' '.repeat((widths[at] ?? 0) - displayWidth(cell) + GAP - 1)}`)
    .join('');
}
