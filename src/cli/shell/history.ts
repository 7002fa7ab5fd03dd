/** The lines of the terminal that were entered before, in a file that only the user can read: they name guests. */

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { isPrintable } from '../../model/messages/printable.ts';

/** As many lines as virsh keeps. */
export const HISTORY_SIZE = 500;

/** Returns the file's path. */
export function historyFile({ XDG_CACHE_HOME }: NodeJS.ProcessEnv): string {
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'xlsnap/history');
}

/** Neither waits for a pipe in its place, nor has root, in the home folder of a user (sudo -E), follow a link of that user's. */
const SAFELY = constants.O_NONBLOCK | constants.O_NOFOLLOW;

/** Returns the lines, the newest first; none if the file cannot be read. */
export function readHistory(path: string): string[] {
  try {
    const lines = withFile(path, constants.O_RDONLY, (fd) => readFileSync(fd, 'utf8')).split('\n');
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
  const text = lines.toReversed().map((line) => `${line}\n`);
  withFile(path, constants.O_WRONLY | constants.O_CREAT, (fd) => {
    ftruncateSync(fd);
    writeFileSync(fd, text.join(''));
  });
}

function withFile<T>(path: string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(path, flags | SAFELY, 0o600);
  try {
    if (!fstatSync(fd).isFile()) throw new Error(`'${path}' is not a regular file`);
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
