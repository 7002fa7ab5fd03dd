/** Timeouts of conversations with a guest's device model and agent. */

/** The loop is asked so often whether it still runs. */
const STEP_MS = 100;

/**
 * Calls `late` after `ms` milliseconds during which the event loop ran, unless disposed of before. While the loop stands, an
 * answer may have come that it could not read: that time is not counted.
 */
export function deadline(ms: number, late: () => void): Disposable {
  let left = ms;
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const step = Math.min(left, STEP_MS);
    const begun = performance.now();
    timer = setTimeout(() => {
      const stood = performance.now() - begun > step + STEP_MS;
      if (!stood) left -= step;
      if (left <= 0) late();
      else wait();
    }, step);
  };
  wait();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
