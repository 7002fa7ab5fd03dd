/** A program of this folder that attacks as another user, from its first word to its end. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Attacks while it is in scope. */
export class Attacker implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #said = '';

  private constructor(script: string, words: readonly string[]) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, script), ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#ended = once(this.#child, 'exit');
  }

  /** Resolves when the program has said something. Rejects if it ends before. */
  static async start(script: string, ...words: readonly string[]): Promise<Attacker> {
    const attacker = new Attacker(script, words);
    const ended = attacker.#ended.then(() => {
      throw new Error(`${script} has ended before it attacked`);
    });
    const { stdout } = attacker.#child;
    if (stdout) await Promise.race([once(stdout, 'data'), ended]);
    return attacker;
  }

  /** Everything that it has said so far. */
  get said(): string {
    return this.#said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
