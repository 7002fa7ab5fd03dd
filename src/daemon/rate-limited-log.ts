/** Limits how often lines that a client can cause are logged. */

const WINDOW_MS = 60_000;
const LINES_MAX = 20;

/** `write`, but at most 20 times a minute; the first line of a later minute says how many were left out. */
export function bounded(
  write: (text: string) => void,
  now: () => number = () => performance.now(),
): (text: string) => void {
  let ends = Number.NEGATIVE_INFINITY;
  let lines = 0;
  return (text) => {
    if (now() >= ends) {
      if (lines > LINES_MAX) write(`${lines - LINES_MAX} more lines like the last ones were left out`);
      ends = now() + WINDOW_MS;
      lines = 0;
    }
    lines += 1;
    if (lines <= LINES_MAX) write(text);
  };
}
