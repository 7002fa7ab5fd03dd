/** Closes things in the opposite order of their opening. (Node 20 has no AsyncDisposableStack.) */
export class Opened implements AsyncDisposable {
  readonly #things: (Disposable | AsyncDisposable)[] = [];

  /** Adds a thing and returns it. */
  use<T extends Disposable | AsyncDisposable>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  /**
   * Closes everything, the newest first. If one fails, the others are still closed, and its error is thrown at the end.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    for (let thing = this.#things.pop(); thing; thing = this.#things.pop()) {
      try {
        if (Symbol.asyncDispose in thing) await thing[Symbol.asyncDispose]();
        else thing[Symbol.dispose]();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  }
}
