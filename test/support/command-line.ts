/** xlsnap and virsh as programs: what they print, to the byte, and on a terminal. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

/** The built command. */
export const XLSNAP: readonly string[] = [process.execPath, resolve(import.meta.dirname, '../../dist/cli/main.js')];

const TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** What a program has printed, every byte of it. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

const environment = (more: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  LC_ALL: 'C.UTF-8',
  TZ: 'UTC',
  ...more,
});

/** Runs a program without a terminal, to its end. */
export async function runProgram(
  [program, ...before]: readonly string[],
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Output> {
  const child = spawn(program ?? '', [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    env: environment(env),
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { stdout, stderr, status: child.exitCode };
}

/** A program on a terminal of its own: what it shows can be waited for, and keys can be pressed. */
export class Terminal implements AsyncDisposable {
  readonly #child: ChildProcess;
  #shown = '';

  constructor(command: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const line = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    // Without `exec`, the shell that runs the line would be ended by Ctrl-C, too.
    this.#child = spawn('script', ['--quiet', '--return', '--command', `exec ${line}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: TIMEOUT_MS,
      env: environment(env),
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#shown += chunk;
    });
  }

  /** Everything so far, escape sequences and all. */
  get shown(): string {
    return this.#shown;
  }

  press(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /** Resolves when `pattern` has been shown. */
  async until(pattern: RegExp): Promise<void> {
    const end = performance.now() + TIMEOUT_MS;
    while (!pattern.test(this.#shown)) {
      if (performance.now() > end || this.#child.exitCode !== null) {
        throw new Error(`${pattern} was not shown, but:\n${this.#shown}`);
      }
      await delay(POLL_MS);
    }
  }

  /** The exit status. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null) await once(this.#child, 'close');
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
    await this.ended();
  }
}
