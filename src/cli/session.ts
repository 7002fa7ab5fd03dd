/** A command's session: the connection to the daemon, lookups, and output. */

import { type ErrorCode, isLibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { printableJson, printableLines } from '../model/messages/printable.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { SnapshotRef } from '../rpc/client/snapshots.ts';
import { failure } from './failure.ts';

/** Exit code after Ctrl-C: 128 and the number of SIGINT. */
export const INTERRUPTED = 130;

interface SessionOptions {
  readonly uri: string;
  readonly readOnly: boolean;
  /** Leaves out headings and messages about what was done (virsh's --quiet). */
  readonly quiet: boolean;
  /** Ends every connection when aborted. */
  readonly signal?: AbortSignal;
}

/** Returns to the first column and erases the line (ECMA-48 EL). */
const EMPTY_LINE = '\r\x1b[K';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Standard output is for results, standard error for `error: …` and for progress. No name reaches a terminal with control
 * characters in it; a pipe gets results as they are.
 */
export class Session implements Disposable {
  readonly #options: SessionOptions;
  #forPeople: boolean;
  #inProgress = false;
  #client: Promise<RpcClient> | undefined;
  /** Ctrl-C was pressed, so the exit code is INTERRUPTED even if the command succeeded. */
  interrupted = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#forPeople = !options.quiet;
  }

  /** The URI as given, with its transport and parameters. */
  get uri(): string {
    return this.#options.uri;
  }

  get quiet(): boolean {
    return this.#options.quiet;
  }

  /** Returns the connection, which is made when it is first needed. */
  client(): Promise<RpcClient> {
    this.#client ??= this.orSay('failed to connect to the hypervisor', () => this.connect());
    return this.#client;
  }

  /** Makes another connection, for calls that must not wait for the first one's. The caller disposes of it. */
  async connect(): Promise<RpcClient> {
    const { connect } = await import('./connection.ts');
    return await connect(this.#options);
  }

  /** Runs `work`; if it fails, prints this line before the error's own. */
  async orSay<T>(text: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.error(text);
      throw error;
    }
  }

  /** Finds a domain by its id, its UUID or its name, in this order. */
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

  /** Prints a result. */
  print(text: string): void {
    this.draw(process.stdout.isTTY ? printableLines(text) : text);
  }

  /** Prints a text that is printable already, with colours or movements of the cursor. */
  draw(text: string): void {
    this.#endProgress();
    process.stdout.write(text);
  }

  /** Prints a text for people only: not with --quiet or --json. */
  extra(text: string): void {
    if (this.#forPeople) this.print(text);
  }

  /** Prints results for another program, one a line. */
  lines(results: readonly string[]): void {
    this.#forPeople = false;
    for (const result of results) this.print(`${result}\n`);
  }

  /** Reports what was done to a snapshot, in virsh's words or as JSON. */
  done(json: boolean, { name, domain }: SnapshotRef, text: string): void {
    if (json) this.json({ domain: domain.name, snapshot: name });
    else this.extra(text);
  }

  /** Prints JSON; from here on texts for people are left out. */
  json(value: unknown): void {
    this.#forPeople = false;
    this.print(`${printableJson(JSON.stringify(value, undefined, 2))}\n`);
  }

  /** Prints a message to standard error. */
  note(text: string): void {
    this.#endProgress();
    process.stderr.write(`${printableLines(text)}\n`);
  }

  /** Prints a line of progress for another program. */
  readonly progressJson = (value: unknown): void => {
    process.stderr.write(`${printableJson(JSON.stringify(value))}\n`);
  };

  /** Shows a line on the terminal, which the next output replaces. */
  progress(line: string): void {
    this.#endProgress();
    process.stderr.write(line);
    this.#inProgress = true;
  }

  #endProgress(): void {
    if (this.#inProgress) process.stderr.write(EMPTY_LINE);
    this.#inProgress = false;
  }

  /** Ends the program at once, as an interrupt would. */
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

/** For `catch`: turns errors with this code into undefined, and throws others. */
export function orNone(code: ErrorCode): (error: unknown) => undefined {
  return (error) => {
    if (!isLibvirtError(error, code)) throw error;
  };
}
