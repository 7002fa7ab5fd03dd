import { setTimeout as delay } from 'node:timers/promises';

const LIMIT_MS = 30_000;
const POLL_MS = 20;

/** Resolves when the condition holds; rejects, with the condition, if it does not within half a minute, or `limitMs`. */
export async function until(condition: () => boolean | Promise<boolean>, limitMs = LIMIT_MS): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`still not so: ${condition}`);
    await delay(POLL_MS);
  }
}
