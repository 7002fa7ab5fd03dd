/** How many calls of one client are worked on at a time. */

/** libvirtd's own default is 5; clients with a thread per domain want more. */
const CLIENT_CALLS_MAX = 20;

/** Runs calls as they come, up to the limit; the rest wait in order. */
export class CallLimit {
  readonly #waiting: (() => Promise<void>)[] = [];
  readonly #onRoom: () => void;
  #running = 0;

  /** `onRoom` is called when the limit, once reached, is no longer. */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom;
  }

  /** True while no further call should be read from the client. */
  get reached(): boolean {
    return this.#running >= CLIENT_CALLS_MAX;
  }

  /** `call` must not reject. */
  run(call: () => Promise<void>): void {
    if (this.reached) this.#waiting.push(call);
    else void this.#start(call);
  }

  async #start(call: () => Promise<void>): Promise<void> {
    this.#running += 1;
    await call();
    this.#running -= 1;
    const next = this.#waiting.shift();
    if (next) void this.#start(next);
    else this.#onRoom();
  }
}
