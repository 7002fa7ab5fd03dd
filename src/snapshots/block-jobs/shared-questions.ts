/**
 * Questions to a libvirtd, a device model or a program that clients who may only look ask as often as they like. Each serves one
 * at a time, and an operation waits for its turn as everybody else: so there is one of a kind under way.
 */

/** By what the question is about. */
export class SharedQuestions<T> {
  /** Settle, and never reject. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  readonly #next = new Map<string, Promise<T>>();

  /** Those who ask while one is under way share the next one: its answer is of a time after they have asked. */
  async ask(about: string, question: () => Promise<T>): Promise<T> {
    const next = this.#next.get(about);
    if (next) return await next;
    const before = this.#underWay.get(about);
    if (!before) return await this.#begin(about, question);
    const mine = before.then(() => {
      this.#next.delete(about);
      return this.#begin(about, question);
    });
    this.#next.set(about, mine);
    return await mine;
  }

  #begin(about: string, question: () => Promise<T>): Promise<T> {
    const answer = question();
    const settled = answer.then(
      () => this.#underWay.delete(about),
      () => this.#underWay.delete(about),
    );
    this.#underWay.set(about, settled);
    return answer;
  }
}
