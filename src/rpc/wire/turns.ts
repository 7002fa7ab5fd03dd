/** Gives connections their turns at the daemon's one thread, so that none makes another wait. */

/** Connections get their turns for this long before sockets, timers and jobs get theirs. */
const SLICE_MS = 0.5;

/** Clients that may change something come before those that only look. */
export type Lane = 'write' | 'read-only';

/** One connection's place. */
export interface Turn {
  /** Asks for a turn: it may come at once, before this returns. Asking again before it comes changes nothing. */
  ask(): void;
}

interface Place {
  readonly lane: Lane;
  /** One small piece of work. Returns whether there is more. */
  readonly step: () => boolean;
  asked: boolean;
}

/** Joins as a place with this step. */
export type TakeTurns = (step: () => boolean) => Turn;

/**
 * Gives each place that has asked one step after another, round robin within a lane. Promises that a step has started
 * count.
 */
export class Turns {
  readonly #asked: Readonly<Record<Lane, Place[]>> = { write: [], 'read-only': [] };
  #working = false;
  /** The end of this slice: one is given to each round of the event loop. */
  #sliceEnds = 0;
  #roundEnds = false;
  /** True if the slice is over with places still asking. */
  #suspended = false;

  join(lane: Lane, step: () => boolean): Turn {
    const place = { lane, step, asked: false };
    return { ask: () => this.#ask(place) };
  }

  #ask(place: Place): void {
    if (place.asked) return;
    place.asked = true;
    this.#asked[place.lane].push(place);
    if (!this.#working) this.#next();
  }

  readonly #next = (): void => {
    this.#working = this.#asked.write.length > 0 || this.#asked['read-only'].length > 0;
    if (!this.#working) return;
    if (!this.#roundEnds) this.#beginSlice();
    else if (performance.now() >= this.#sliceEnds) {
      this.#suspended = true;
      return;
    }
    const place = this.#asked.write.shift() ?? this.#asked['read-only'].shift();
    if (place) this.#step(place);
    // A tick that a microtask asks for comes after all microtasks: after what the step has started.
    queueMicrotask(this.#afterMicrotasks);
  };

  readonly #afterMicrotasks = (): void => process.nextTick(this.#next);

  #step(place: Place): void {
    place.asked = false;
    if (place.step()) this.#ask(place);
  }

  #beginSlice(): void {
    this.#sliceEnds = performance.now() + SLICE_MS;
    this.#roundEnds = true;
    setImmediate(() => {
      this.#roundEnds = false;
      if (!this.#suspended) return;
      this.#suspended = false;
      this.#next();
    });
  }
}
