/** Limits the calls of one client that are carried out at a time. */

import type { TakeTurns, Turn } from './turns.ts';

/** libvirtd's own default is 5; clients with a thread per domain want more. */
const CLIENT_CALLS_MAX = 20;

/** Starts calls in the order in which they arrive, one per turn, and only while the client reads its replies. */
export class CallLimit {
  readonly #waiting: (() => Promise<void>)[] = [];
  readonly #turn: Turn;
  readonly #mayStart: () => boolean;
  readonly #onEnd: () => void;
  #running = 0;

  /** `onEnd` is called after each call; it is to call `advance`. */
  constructor(takeTurns: TakeTurns, { mayStart, onEnd }: { mayStart: () => boolean; onEnd: () => void }) {
    this.#turn = takeTurns(() => this.#startOne());
    this.#mayStart = mayStart;
    this.#onEnd = onEnd;
  }

  /** True while no further call may be read from the client. */
  get reached(): boolean {
    return this.#running + this.#waiting.length >= CLIENT_CALLS_MAX;
  }

  /** `call` must not reject. */
  run(call: () => Promise<void>): void {
    this.#waiting.push(call);
    this.advance();
  }

  /** Asks for a turn if a call waits that may be started. */
  advance(): void {
    if (this.#waiting.length > 0 && this.#mayStart()) this.#turn.ask();
  }

  #startOne(): boolean {
    const call = this.#mayStart() ? this.#waiting.shift() : undefined;
    if (call) void this.#start(call);
    return this.#waiting.length > 0 && this.#mayStart();
  }

  async #start(call: () => Promise<void>): Promise<void> {
    this.#running += 1;
    await call();
    this.#running -= 1;
    this.#onEnd();
  }
}
