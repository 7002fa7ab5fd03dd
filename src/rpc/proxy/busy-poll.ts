/**
 * Stays awake between a call and its reply: waking up costs a forwarded call more than everything else that it needs.
 */

import { availableParallelism } from 'node:os';

/** libvirtd answers calls from memory within this time, and clients make many of those in a row. */
const AWAKE_MS = 0.08;

/** If several connections have frames within this time of each other, they keep the processors busy by themselves. */
const APART_MS = 10;

/**
 * Busy polling, as Linux has it (net.core.busy_poll): for a moment after a frame the event loop looks for bytes again
 * at once instead of sleeping. Only if a processor is free: one client is active, and there is more than one processor.
 */
export class BusyPoll {
  readonly #spare: boolean;
  #last: object | undefined;
  #crowdedUntil = 0;
  #awakeUntil = 0;
  #polling = false;

  constructor(processors: number = availableParallelism()) {
    this.#spare = processors > 1;
  }

  /** Call when a frame of `connection` has arrived and another may follow soon. */
  expect(connection: object): void {
    if (!this.#spare) return;
    const now = performance.now();
    if (this.#last !== connection) this.#crowdedUntil = now + APART_MS;
    this.#last = connection;
    if (now < this.#crowdedUntil) return;
    this.#awakeUntil = now + AWAKE_MS;
    if (this.#polling) return;
    this.#polling = true;
    setImmediate(this.#poll);
  }

  readonly #poll = (): void => {
    this.#polling = performance.now() < this.#awakeUntil;
    if (this.#polling) setImmediate(this.#poll);
  };
}
