/** System calls of a running process, and of all it starts, made to fail or to be its last: by strace. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';

const DETACH_MS = 2_000;
const ATTACH_MS = 10_000;

export interface Rule {
  readonly calls: readonly string[];
  /** What happens to them: `error=EIO`, `signal=KILL`; absent: they are only seen. */
  readonly effect?: string;
  /** Only calls on these files. */
  readonly paths: readonly string[];
}

export class Interference {
  readonly #strace: ChildProcess;
  readonly #log: string;

  private constructor(strace: ChildProcess, log: string) {
    this.#strace = strace;
    this.#log = log;
  }

  /** Resolves when the rule holds. `log` is a file of its own. */
  static async begin(pid: number, { calls, effect, paths }: Rule, log: string): Promise<Interference> {
    const names = calls.join(',');
    const inject = effect === undefined ? [] : ['-e', `inject=${names}:${effect}`];
    const strace = spawn(
      'strace',
      [
        ...['-f', '-y', '-p', String(pid), '-o', log, '-e', `trace=${names}`, ...inject],
        ...paths.flatMap((path) => ['-P', path]),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const lines = createInterface({ input: strace.stderr });
    const attached = new Promise<void>((resolve, reject) => {
      const said: string[] = [];
      const timer = setTimeout(() => reject(new Error(`strace does not attach: ${said.join('\n')}`)), ATTACH_MS);
      strace.once('error', reject);
      lines.once('close', () => reject(new Error(`strace has ended: ${said.join('\n')}`)));
      lines.on('line', (line) => {
        said.push(line);
        if (!/^strace: Process \d+ attached/.test(line)) return;
        clearTimeout(timer);
        resolve();
      });
    });
    await attached;
    return new Interference(strace, log);
  }

  /** The calls so far, one a line. */
  async seen(): Promise<readonly string[]> {
    return (await readFile(this.#log, 'utf8')).split('\n');
  }

  /** Lets the processes go on undisturbed, and says how many calls were hit. */
  async end(): Promise<number> {
    if (this.#strace.exitCode === null && this.#strace.signalCode === null) {
      const ended = once(this.#strace, 'exit');
      this.#strace.kill('SIGINT');
      // It may wait for ever for a thread of a process that was killed.
      const timer = setTimeout(() => this.#strace.kill('SIGKILL'), DETACH_MS);
      await ended;
      clearTimeout(timer);
    }
    const lines = await this.seen();
    await rm(this.#log, { force: true });
    return lines.filter((line) => /\(INJECTED\)$| = \?$/.test(line)).length;
  }
}
