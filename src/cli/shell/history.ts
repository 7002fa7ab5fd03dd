/** The lines of the terminal that were entered before, in a file that only the user can read: they name guests. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { isPrintable } from '../../model/messages/printable.ts';

/** As many lines as virsh keeps. */
export const HISTORY_SIZE = 500;

/** Returns the file's path. */
export function historyFile({ XDG_CACHE_HOME }: NodeJS.ProcessEnv): string {
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'xlsnap/history');
}

/** Returns the lines, the newest first; none if the file cannot be read. */
export function readHistory(path: string): string[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n');
    return lines
      .filter((line) => line !== '' && isPrintable(line))
      .slice(-HISTORY_SIZE)
      .reverse();
  } catch {
    return [];
  }
}

/** Writes the lines, the newest first. Throws Node's error. */
export function writeHistory(path: string, lines: readonly string[]): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(
    path,
    lines
      .toReversed()
      .map((line) => `${line}\n`)
      .join(''),
    { mode: 0o600 },
  );
}
