/** Stays awake between a call and its reply: waking up costs a forwarded call more than all else that is done for it. */

import { availableParallelism } from 'node:os';

/** A libvirtd answers what it knows by heart within this, and clients ask for that one call after another. */
const AWAKE_MS = 0.08;

/** Connections that have had frames within this time of each other keep the processors busy by themselves. */
const APART_MS = 10;

/**
 * Has the event loop look for bytes again at once, for a moment after a frame, instead of sleeping: what Linux calls busy
 * polling (net.core.busy_poll). Only where there is a processor to spare: with one client at work, and more than one
 * processor.
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

  /** A frame of `connection` has just come, and another may follow soon. */
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
