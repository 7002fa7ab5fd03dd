/** Tables as virsh prints them, with numbers aligned to the right and, on a terminal, some colour. */

import { printable } from '../../model/messages/printable.ts';
import { displayWidth } from './display-width.ts';

/** SGR of ECMA-48, which every terminal knows. */
const SGR = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' } as const;
/** The styles of cells, shown as colours. */
export type Style = keyof typeof SGR;

/** One cell of a table. */
export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

/** The heading of a column. */
export interface Column {
  readonly title: string;
  /** Aligns to the right, for numbers. */
  readonly right?: true;
}

const GAP = '   ';

/** Returns the table. `quiet`: without the heading. */
export function columns(
  heading: readonly Column[],
  rows: readonly (readonly Cell[])[],
  { quiet, colour }: { readonly quiet: boolean; readonly colour: boolean },
): string {
  const table = rows.map((row) => row.map(({ text, ...style }): Cell => ({ text: printable(text), ...style })));
  const titles = heading.map(({ title }): Cell => ({ text: title }));
  const widths = heading.map((_, at) =>
    Math.max(...[titles, ...table].map((row) => displayWidth(row[at]?.text ?? ''))),
  );
  const shown = ({ text, style }: Cell): string => (colour && style ? `\x1b[${SGR[style]}m${text}\x1b[0m` : text);
  const line = (row: readonly Cell[]): string => {
    const padded = row.map((cell, at) => {
      const padding = ' '.repeat((widths[at] ?? 0) - displayWidth(cell.text));
      return heading[at]?.right ? padding + shown(cell) : shown(cell) + padding;
    });
    return ` ${padded.join(GAP).trimEnd()}\n`;
  };
  const rule = '-'.repeat(widths.reduce((sum, width) => sum + width + GAP.length, 0));
  return (quiet ? '' : `${line(titles)}${rule}\n`) + table.map(line).join('');
}

/** True if standard output is a terminal and NO_COLOR is not set (https://no-color.org). */
export function hasColour(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}
