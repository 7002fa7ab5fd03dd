/** How many calls of one client are worked on at a time. */

/** libvirtd's own default is 5; clients with a thread per domain want more. */
const CLIENT_CALLS_MAX = 20;

/** Starts calls in the order they come: up to the limit, and only while the client takes its replies. */
export class CallLimit {
  readonly #waiting: (() => Promise<void>)[] = [];
  readonly #mayStart: () => boolean;
  readonly #onEnd: () => void;
  #running = 0;

  /** `onEnd` is called after each call; it is to call `advance`. */
  constructor(mayStart: () => boolean, onEnd: () => void) {
    this.#mayStart = mayStart;
    this.#onEnd = onEnd;
  }

  /** True while no further call should be read from the client: those that wait are from what had been read already. */
  get reached(): boolean {
    return this.#running >= CLIENT_CALLS_MAX || this.#waiting.length > 0;
  }

  /** `call` must not reject. */
  run(call: () => Promise<void>): void {
    this.#waiting.push(call);
    this.advance();
  }

  /** Starts what may be started now. */
  advance(): void {
    while (this.#running < CLIENT_CALLS_MAX && this.#mayStart()) {
      const call = this.#waiting.shift();
      if (!call) return;
      void this.#start(call);
    }
  }

  async #start(call: () => Promise<void>): Promise<void> {
    this.#running += 1;
    await call();
    this.#running -= 1;
    this.#onEnd();
  }
}
