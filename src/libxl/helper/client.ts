/** The parent's side of the helper process: libxl's calls as promises, libxl's own words in every error. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LibvirtError } from '../../errors.ts';
import type { FileAt } from '../../files/same-file.ts';
import { callError, cancelled, withLog } from './call-error.ts';
import {
  type DomainConfig,
  type DomainInfo,
  type DomainName,
  type Held,
  type HelperReply,
  type HelperRequest,
  type LibxlOperations,
  LOG_FD,
  logMarker,
  type OperationName,
  type Physinfo,
  type Probe,
} from './protocol.ts';

/** The compiled helper; from src (in tests) and from dist it is the same one. */
const HELPER = join(import.meta.dirname, '../../../dist/libxl/helper/main.js');

/** An operation that takes longer hangs. Libxl's own timeouts (60 s for a guest, for a device model) end before. */
const OPERATION_TIMEOUT_MS = 180_000;
/** Loading libxl and one hypercall. The daemon waits for it at its start, and systemd for the daemon (90 s). */
const PROBE_TIMEOUT_MS = 30_000;
/** From an abort to the end of the operation. */
const ABORT_TIMEOUT_MS = 120_000;
const QUIT_TIMEOUT_MS = 5_000;
/** How long the last words of a dead helper are read. */
const DRAIN_TIMEOUT_MS = 500;

/** Of one long operation. */
export interface LongOperation {
  readonly signal: AbortSignal;
  /** At every step of libxl's progress; at most about a hundred times per pass over the memory. */
  readonly progress?: () => void;
}

/** xtl_progress of libxentoollog's stdiostream: `<context>: <what>: <done>/<total>  <percent>%`. */
const PROGRESS_LINE = /: \d+\/\d+\s+\d+%$/;

interface PendingCall {
  readonly id: number;
  readonly operation: OperationName;
  readonly target: unknown;
  readonly progress: (() => void) | undefined;
  readonly settle: (outcome: HelperReply, log: readonly string[]) => void;
  reply?: HelperReply;
  log?: readonly string[];
}

/** One helper process with one libxl context. `await using helper = LibxlHelper.start()`; one call at a time. */
export class LibxlHelper implements LibxlOperations, AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #closed: Promise<void>;
  #log: string[] = [];
  #stderr = '';
  #lastId = 0;
  #pending: PendingCall | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess) {
    this.#process = child;
    child.on('message', (reply: HelperReply) => this.#onReply(reply));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
    createInterface({ input: child.stdio[LOG_FD] as Readable }).on('line', (line) => this.#onLine(line));
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        this.#stderr += error.message;
        resolve();
      });
      child.once('exit', () => resolve());
    });
    const drained = once(child, 'close').catch(() => {});
    this.#closed = ended
      .then(() => Promise.race([drained, sleep(DRAIN_TIMEOUT_MS, undefined, { ref: false })]))
      .then(() => this.#onEnd());
  }

  /** Forks it. In a session of its own: a signal to the daemon's terminal must not hit it between suspend and resume. */
  static start(): LibxlHelper {
    const child = fork(HELPER, [], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    return new LibxlHelper(child);
  }

  /** False once the process has ended, however it did. */
  get #alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null && this.#process.connected;
  }

  probe(): Promise<Probe> {
    return this.#call('probe', []) as Promise<Probe>;
  }

  domainInfo(domid: number): Promise<DomainInfo | null> {
    return this.#call('domainInfo', [domid]) as Promise<DomainInfo | null>;
  }

  listDomains(): Promise<readonly DomainName[]> {
    return this.#call('listDomains', []) as Promise<readonly DomainName[]>;
  }

  physinfo(): Promise<Physinfo> {
    return this.#call('physinfo', []) as Promise<Physinfo>;
  }

  commandLine(): Promise<string> {
    return this.#call('commandLine', []) as Promise<string>;
  }

  domainConfig(domid: number): Promise<DomainConfig> {
    return this.#call('domainConfig', [domid]) as Promise<DomainConfig>;
  }

  async suspend(domid: number, file: FileAt, live: boolean, options?: LongOperation): Promise<void> {
    await this.#call('suspend', [domid, file, live], options);
  }

  async pause(domid: number): Promise<void> {
    await this.#call('pause', [domid]);
  }

  async resume(domid: number): Promise<void> {
    await this.#call('resume', [domid]);
  }

  async unpause(domid: number): Promise<void> {
    await this.#call('unpause', [domid]);
  }

  release(domid: number, held: Held): Promise<DomainInfo | null> {
    return this.#call('release', [domid, held]) as Promise<DomainInfo | null>;
  }

  createRestore(config: DomainConfig, path: string, offset: number, options?: LongOperation): Promise<number> {
    return this.#call('createRestore', [config, path, offset], options) as Promise<number>;
  }

  async destroy(domid: number): Promise<void> {
    await this.#call('destroy', [domid]);
  }

  /** Asks the process to end and leaves a guest that it holds as it is. Kills it if it does not end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#alive) this.#send({ kind: 'quit' });
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), QUIT_TIMEOUT_MS);
    await this.#closed;
    clearTimeout(timer);
  }

  #call(operation: OperationName, args: readonly unknown[], options?: LongOperation): Promise<unknown> {
    const result = this.#queue.then(() => this.#perform(operation, args, options));
    this.#queue = result.catch(() => {});
    return result;
  }

  async #perform(operation: OperationName, args: readonly unknown[], options?: LongOperation): Promise<unknown> {
    const signal = options?.signal;
    if (signal?.aborted) throw cancelled(signal);
    if (!this.#alive) throw this.#ended(operation, args[0]);
    const timeout = operation === 'probe' ? PROBE_TIMEOUT_MS : OPERATION_TIMEOUT_MS;
    let timer = signal ? undefined : this.#killAfter(timeout);
    const abort = () => {
      this.#send({ kind: 'abort' });
      timer = this.#killAfter(ABORT_TIMEOUT_MS);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await new Promise((resolve, reject) => {
        const id = ++this.#lastId;
        const settle: PendingCall['settle'] = (reply, log) => {
          if ('failure' in reply) reject(callError(operation, args[0], reply.failure, log, signal));
          else resolve(withLog(operation, reply.value, log));
        };
        this.#pending = { id, operation, target: args[0], progress: options?.progress, settle };
        this.#send({ kind: 'call', id, operation, args });
      });
    } finally {
      signal?.removeEventListener('abort', abort);
      clearTimeout(timer);
      this.#pending = undefined;
    }
  }

  #send(request: HelperRequest): void {
    // A channel that has just closed is reported by the process's end.
    this.#process.send(request, () => {});
  }

  #killAfter(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#process.kill('SIGKILL'), ms);
  }

  #onReply(reply: HelperReply): void {
    if (this.#pending?.id !== reply.id) return;
    this.#pending.reply = reply;
    this.#settle();
  }

  #onLine(line: string): void {
    if (this.#pending && line === logMarker(this.#pending.id)) {
      this.#pending.log = this.#log;
      this.#log = [];
      this.#settle();
    } else if (PROGRESS_LINE.test(line)) this.#pending?.progress?.();
    else this.#log.push(line);
  }

  /** Reply and log arrive separately; an operation has ended when both are there. */
  #settle(): void {
    const { reply, log, settle } = this.#pending ?? {};
    if (reply && log && settle) settle(reply, log);
  }

  #onEnd(): void {
    if (!this.#pending) return;
    const { id, settle } = this.#pending;
    settle({ id, failure: { message: this.#lastWords() } }, this.#log);
  }

  #lastWords(): string {
    const { exitCode, signalCode } = this.#process;
    const words = this.#stderr.trim().split('\n').at(-1);
    return `the libxl helper process ended (${signalCode ?? `status ${exitCode}`})${words ? `: ${words}` : ''}`;
  }

  #ended(operation: OperationName, target: unknown): LibvirtError {
    return callError(operation, target, { message: this.#lastWords() }, []);
  }
}
