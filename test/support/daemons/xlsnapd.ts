/** A real xlsnapd, built, in a folder of its own, and the real virsh on its socket. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Ran, virsh } from '../virsh.ts';

const MAIN = resolve(import.meta.dirname, '../../../dist/daemon/main.js');
const START_MS = 60_000;

interface XlsnapdOptions {
  /** Kept between daemons when given; otherwise a new one that goes with the daemon. */
  readonly home?: string;
  readonly connect?: string;
  /** Further arguments, after the folder's own. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class Xlsnapd implements AsyncDisposable {
  readonly home: string;
  readonly socket: string;
  readonly uri: string;
  readonly #daemon: ChildProcess;
  readonly #ownsHome: boolean;
  readonly #log: string[];

  private constructor(home: string, ownsHome: boolean, connect: string, daemon: ChildProcess, log: string[]) {
    this.home = home;
    this.socket = join(home, 'sock');
    this.uri = `${connect.replace(':///', '+unix:///')}?socket=${this.socket}`;
    this.#daemon = daemon;
    this.#ownsHome = ownsHome;
    this.#log = log;
  }

  /** Resolves when the socket is there; rejects with the daemon's own words when it ends first. */
  static async start(options: XlsnapdOptions = {}): Promise<Xlsnapd> {
    const { connect = 'test:///default', args = [], env = {} } = options;
    const home = options.home ?? (await mkdtemp(join(tmpdir(), 'xlsnapd-')));
    const log: string[] = [];
    const daemon = spawn(process.execPath, [MAIN, ...Xlsnapd.#arguments(home, connect), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    daemon.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const started = new Xlsnapd(home, options.home === undefined, connect, daemon, log);
    for (const end = Date.now() + START_MS; !(await started.#isReady()); await setTimeout(20)) {
      if (daemon.exitCode === null && Date.now() < end) continue;
      await started[Symbol.asyncDispose]();
      throw new Error(`xlsnapd did not start: ${started.log}`);
    }
    return started;
  }

  static #arguments(home: string, connect: string): readonly string[] {
    return [
      ...['--connect', connect, '--listen', join(home, 'sock'), '--state-dir', join(home, 'state')],
      ...['--snapshot-dir', join(home, 'snapshot'), '--memory-dir', join(home, 'memory')],
      // The machine's own bus is none of a test's.
      ...['--dbus', 'none'],
    ];
  }

  /** The read-only socket comes last. */
  async #isReady(): Promise<boolean> {
    return (await answers(this.socket)) && (await answers(`${this.socket}-ro`));
  }

  get pid(): number {
    return this.#daemon.pid ?? -1;
  }

  /** False once it has ended, however it did. */
  get alive(): boolean {
    return this.#daemon.exitCode === null && this.#daemon.signalCode === null;
  }

  /** What it has logged so far. */
  get log(): string {
    return this.#log.join('');
  }

  /** Resolves when it has logged this. */
  async logged(text: string): Promise<void> {
    for (const end = Date.now() + START_MS; !this.log.includes(text); await setTimeout(20)) {
      if (Date.now() > end) throw new Error(`'${text}' was not logged:\n${this.log}`);
    }
  }

  virsh(...args: readonly string[]): Promise<Ran> {
    return virsh(this.uri, ...args);
  }

  /** Standard output of a virsh command that must succeed. */
  async ok(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.virsh(...args);
    if (status !== 0) throw new Error(`virsh ${args.join(' ')}: ${stderr}\n${this.log}`);
    return stdout;
  }

  /** Standard error of a virsh command that must fail, without `error: `. */
  async refused(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.virsh(...args);
    if (status === 0) throw new Error(`virsh ${args.join(' ')} succeeded: ${stdout}`);
    return stderr.replace(/^error: /gm, '');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.alive) return;
    const ended = new Promise((resolve) => this.#daemon.once('exit', resolve));
    this.#daemon.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#ownsHome) await rm(this.home, { recursive: true, force: true });
  }
}

/** A socket file alone says nothing: a daemon that was killed leaves one. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(true));
    socket.on('connect', () => socket.destroy()).on('error', () => resolve(false));
  });
}

/** Runs xlsnapd to its end: for what it says when it cannot start. */
export function runXlsnapd(...args: readonly string[]): Promise<Ran> {
  return new Promise((done) => {
    execFile(process.execPath, [MAIN, ...args], { timeout: START_MS }, (error, stdout, stderr) => {
      const status = error ? (typeof error.code === 'number' ? error.code : null) : 0;
      done({ status, stdout, stderr });
    });
  });
}
