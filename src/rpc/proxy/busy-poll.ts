/**
 * Stays awake between a call and its reply: waking up costs a forwarded call more than everything else that it needs.
 */

import { availableParallelism } from 'node:os';

/** libvirtd answers calls from memory within this time, and clients make many of those in a row. */
const AWAKE_MS = 0.08;

/** If another process took the processor from us while we stayed awake, none is free: we sleep as usual for so long. */
const BUSY_MS = 1_000;

/** How often that is looked at: it is a system call. */
const LOOK_MS = 20;

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
  readonly #preemptions: () => number;
  #preempted = 0;
  #lookAt = 0;

  /** `preemptions` counts how often another process took the processor from this one. */
  constructor(processors: number = availableParallelism(), preemptions: () => number = involuntarySwitches) {
    this.#spare = processors > 1;
    this.#preemptions = preemptions;
  }

  /** Call when a frame of `connection` has arrived and another may follow soon. */
  expect(connection: object): void {
    if (!this.#spare) return;
    const now = performance.now();
    if (this.#last !== connection) this.#crowdedUntil = now + APART_MS;
    this.#last = connection;
    if (now >= this.#lookAt) this.#look(now);
    if (now < this.#crowdedUntil) return;
    this.#awakeUntil = now + AWAKE_MS;
    if (this.#polling) return;
    this.#polling = true;
    setImmediate(this.#poll);
  }

  #look(now: number): void {
    const before = this.#preempted;
    this.#preempted = this.#preemptions();
    // Only what happened since the last look a moment ago can be a result of polling.
    if (this.#preempted > before && now < this.#lookAt + LOOK_MS) this.#crowdedUntil = now + BUSY_MS;
    this.#lookAt = now + LOOK_MS;
  }

  readonly #poll = (): void => {
    this.#polling = performance.now() < this.#awakeUntil;
    if (this.#polling) setImmediate(this.#poll);
  };
}

const involuntarySwitches = (): number => process.resourceUsage().involuntaryContextSwitches;
