/** What a command has at hand: the daemon, the domain it is about, and the terminal. */

import { type ErrorCode, isLibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { SnapshotRef } from '../rpc/client/snapshots.ts';
import { connect } from './connection.ts';
import { failure } from './failure.ts';

/** Exit code after Ctrl-C: 128 and the number of SIGINT. */
export const INTERRUPTED = 130;

interface SessionOptions {
  readonly uri: string;
  readonly readOnly: boolean;
  /** No headings, and no words about what was done (virsh's --quiet). */
  readonly quiet: boolean;
  /** Ends every connection when aborted. */
  readonly signal?: AbortSignal;
}

/** Back to the line's first column, and all of it gone (ECMA-48 EL). */
const EMPTY_LINE = '\r\x1b[K';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Standard output is for results, standard error for `error: …` and for progress. */
export class Session implements Disposable {
  readonly #options: SessionOptions;
  #forPeople: boolean;
  #inProgress = false;
  #client: Promise<RpcClient> | undefined;
  /** Ctrl-C was pressed: the exit code says so, whatever came of it. */
  interrupted = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#forPeople = !options.quiet;
  }

  /** As it was given: with its transport and parameters. */
  get uri(): string {
    return this.#options.uri;
  }

  get quiet(): boolean {
    return this.#options.quiet;
  }

  /** The connection, made when it is first needed. */
  client(): Promise<RpcClient> {
    this.#client ??= this.orSay('failed to connect to the hypervisor', () => this.connect());
    return this.#client;
  }

  /** A further connection, for what must not wait behind a call of the first. The caller disposes of it. */
  connect(): Promise<RpcClient> {
    return connect(this.#options);
  }

  /** Where `work` fails, this line comes before its error's own. */
  async orSay<T>(text: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.error(text);
      throw error;
    }
  }

  /** A domain by its id, its UUID or its name, in this order. */
  async domain(given: string): Promise<DomainRef> {
    const client = await this.client();
    const lookups = [
      ...(/^\d{1,9}$/.test(given) ? [() => client.lookupByID(Number(given))] : []),
      ...(UUID.test(given) ? [() => client.lookupByUUID(given)] : []),
      () => client.lookupByName(given),
    ];
    for (const lookup of lookups) {
      const found = await lookup().catch(orNone('NO_DOMAIN'));
      if (found) return found;
    }
    throw failure(`failed to get domain '${given}'`);
  }

  /** A result. */
  print(text: string): void {
    this.#endProgress();
    process.stdout.write(text);
  }

  /** What only a person wants to read. */
  extra(text: string): void {
    if (this.#forPeople) this.print(text);
  }

  /** Results for another program, one a line. */
  lines(results: readonly string[]): void {
    this.#forPeople = false;
    for (const result of results) this.print(`${result}\n`);
  }

  /** What was done to a snapshot, in virsh's words or as JSON. */
  done(json: boolean, { name, domain }: SnapshotRef, text: string): void {
    if (json) this.json({ domain: domain.name, snapshot: name });
    else this.extra(text);
  }

  /** JSON stands alone: what only a person wants to read is left out from here on. */
  json(value: unknown): void {
    this.#forPeople = false;
    this.print(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Beside the results: what is going on. */
  note(text: string): void {
    this.#endProgress();
    process.stderr.write(`${text}\n`);
  }

  /** A line on the terminal in whose place comes whatever is printed next. */
  progress(line: string): void {
    this.#endProgress();
    process.stderr.write(line);
    this.#inProgress = true;
  }

  #endProgress(): void {
    if (this.#inProgress) process.stderr.write(EMPTY_LINE);
    this.#inProgress = false;
  }

  /** Ends the program at once, as an interrupt would have. */
  leave(): never {
    process.exit(INTERRUPTED);
  }

  error(text: string): void {
    this.note(`error: ${text}`);
  }

  [Symbol.dispose](): void {
    this.#client?.then((client) => client[Symbol.dispose]()).catch(() => {});
  }
}

/** For `catch`: errors with this code are the answer that there is none. */
export function orNone(code: ErrorCode): (error: unknown) => undefined {
  return (error) => {
    if (!isLibvirtError(error, code)) throw error;
  };
}
