/** A cache of documents that were formatted for clients, who ask for the same few again and again. */

/** Default size of the cache in characters, for all domains together. */
const KEPT_MAX = 8 * 1024 * 1024;

/** Keeps the documents that were used last. */
export class Documents {
  /** In the order of use: the one that was used last is the last. */
  readonly #kept = new Map<string, string>();
  readonly #max: number;
  #size = 0;
  #changes = 0;

  /** `max`: characters that are kept. */
  constructor(max = KEPT_MAX) {
    this.#max = max;
  }

  /** Returns the kept document, or the result of `write`, which is kept unless a document was forgotten while it ran. */
  async get(key: string, write: () => Promise<string>): Promise<string> {
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const changes = this.#changes;
    const text = await write();
    if (changes === this.#changes) this.#keep(key, text);
    return text;
  }

  forget(...keys: readonly string[]): void {
    this.#changes += 1;
    for (const key of keys) this.#drop(key);
  }

  forgetAll(): void {
    this.forget(...this.#kept.keys());
  }

  #keep(key: string, text: string): void {
    this.#drop(key);
    this.#kept.set(key, text);
    this.#size += text.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#size <= this.#max) return;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    this.#size -= this.#kept.get(key)?.length ?? 0;
    this.#kept.delete(key);
  }
}
