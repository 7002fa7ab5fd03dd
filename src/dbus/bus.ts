/**
 * A connection to a message bus: the only module that uses dbus-next. Works around the faults of version 0.10.2, each
 * with its reason, so that replacing the package means replacing only this file.
 */

import type { Socket } from 'node:net';
import dbus from 'dbus-next';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { printableLines } from '../model/messages/printable.ts';
import type { Credentials } from './access.ts';

/**
 * Timeout of handshake and Hello, and of each call to the bus itself. A local daemon answers at once, even on a busy
 * machine.
 */
const ANSWER_TIMEOUT_MS = 10_000;

/** Timeout for the bus to notice that we have disconnected. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Number of callers whose credentials are cached: a bus has fewer connections, and the limit keeps memory bounded. */
const CREDENTIALS_MAX = 1_000;

/** Message flag, by the D-Bus Specification (dbus-next's declarations have other numbers). */
const NO_REPLY_EXPECTED = 0x1;

const FAILED = 'org.freedesktop.DBus.Error.Failed';

const THE_BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' } as const;

/** A method call. Its arguments fit its signature. */
export interface Call {
  /** Unique name of the caller's connection. */
  readonly sender: string;
  readonly path: string;
  readonly interface: string | undefined;
  readonly member: string;
  readonly signature: string;
  readonly args: readonly unknown[];
}

/** A reply to a call. */
export type Reply =
  | { readonly signature: string; readonly values: readonly unknown[] }
  | { readonly error: string; readonly text: string };

/** A signal to be sent. */
export interface Signal {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
  readonly values: readonly unknown[];
}

/** A value of D-Bus type `v`. */
export function variant(signature: string, value: unknown): unknown {
  return new dbus.Variant(signature, value);
}

/** A method of another connection of the bus. */
export interface BusMethod {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
  readonly body: readonly unknown[];
}

interface BusOptions {
  /** Path of the bus' socket. */
  readonly socket: string;
  /** Answers every method call. If it throws, the error goes to the log, not to the caller. */
  readonly answer: (call: Call, bus: Bus) => Promise<Reply>;
  readonly log: (text: string) => void;
  /** Aborts an attempt to connect. */
  readonly signal: AbortSignal;
}

/** Members of dbus-next that its declarations lack. */
interface RawBus extends InstanceType<typeof dbus.MessageBus> {
  readonly name: string | null;
  readonly _connection: { readonly stream: Socket };
}

/** A connection to a bus. Disposing closes it. */
export class Bus implements AsyncDisposable {
  /** Resolves when the connection has ended, for whatever reason. */
  readonly closed: Promise<void>;
  readonly #raw: RawBus;
  readonly #stream: Socket;
  readonly #options: BusOptions;
  /** Calls to the bus that are not answered yet: dbus-next never ends them when the connection does. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #credentials = new Map<string, Promise<Credentials>>();

  private constructor(raw: RawBus, options: BusOptions) {
    this.#raw = raw;
    this.#stream = raw._connection.stream;
    this.#options = options;
    this.closed = new Promise((resolve) => this.#stream.once('close', () => resolve()));
    void this.closed.then(() => {
      for (const fail of this.#waiting) fail(new Error('the connection to the bus was lost'));
    });
    raw.addMethodHandler((message: dbus.Message) => {
      void this.#answer(message);
      return true;
    });
  }

  /** Connects and says Hello. Rejects with INVALID_ARG or OPERATION_FAILED, naming the socket. */
  static async connect(options: BusOptions): Promise<Bus> {
    const { socket, signal } = options;
    // `socket=` makes dbus-next use Node's own sockets, not a native addon that may or may not be installed.
    if (/[;:,=]/.test(socket)) throw new LibvirtError('INVALID_ARG', `D-Bus socket '${socket}': unusable path`);
    const raw = dbus.sessionBus({ busAddress: `unix:socket=${socket}` }) as RawBus;
    const { stream } = raw._connection;
    keepReading(stream, options.log);
    try {
      await hello(raw, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]));
      return new Bus(raw, options);
    } catch (error) {
      stream.destroy();
      const { message } = error as Error;
      const text = `cannot connect to the message bus at '${socket.replace('\0', '@')}': ${message}`;
      throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
    }
  }

  /**
   * Requests a name. Returns false if another connection owns it, without waiting. Rejects if the bus' policy forbids
   * it.
   */
  async requestName(name: string): Promise<boolean> {
    const { DO_NOT_QUEUE } = dbus.NameFlag;
    const { PRIMARY_OWNER, ALREADY_OWNER } = dbus.RequestNameReply;
    const [reply] = await this.#ask('RequestName', 'su', name, DO_NOT_QUEUE);
    return reply === PRIMARY_OWNER || reply === ALREADY_OWNER;
  }

  /** True if a name has an owner, or the bus could start a service for it. */
  async isProvided(name: string): Promise<boolean> {
    const [owned] = await this.#ask('NameHasOwner', 's', name);
    const [activatable] = await this.#ask('ListActivatableNames', '');
    return owned === true || (Array.isArray(activatable) && activatable.includes(name));
  }

  /** Returns a connection's credentials. Asks once, since unique names are never reused. */
  credentials(sender: string): Promise<Credentials> {
    const known = this.#credentials.get(sender);
    if (known) return known;
    if (this.#credentials.size >= CREDENTIALS_MAX) this.#credentials.clear();
    const asked = this.#askCredentials(sender);
    this.#credentials.set(sender, asked);
    asked.catch(() => this.#credentials.delete(sender));
    return asked;
  }

  /** Calls a method. Rejects with OPERATION_FAILED: the error of the reply, a lost connection, or the signal's reason. */
  call(method: BusMethod, signal: AbortSignal): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        signal.removeEventListener('abort', aborted);
        this.#waiting.delete(fail);
      };
      const fail = (error: Error): void => {
        end();
        reject(new LibvirtError('OPERATION_FAILED', `${method.member}: ${error.message}`, { cause: error }));
      };
      const aborted = (): void => fail(new Error('no answer was waited for any longer'));
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.add(fail);
      if (signal.aborted) aborted();
      else if (!this.#stream.writable) fail(new Error('the connection to the bus was lost'));
      else {
        const message = new dbus.Message({ ...method, body: [...method.body] });
        this.#raw.call(message).then((reply) => {
          end();
          resolve(reply?.body ?? []);
        }, fail);
      }
    });
  }

  /** Sends a signal to all listeners, unless the connection has ended. */
  emit(signal: Signal): void {
    const { path, member, signature, values } = signal;
    this.#send(dbus.Message.newSignal(path, signal.interface, member, signature, [...values]));
  }

  /** Disconnects after everything sent has arrived; the names are free when it resolves. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.end();
    const late = setTimeout(() => this.#stream.destroy(), CLOSE_TIMEOUT_MS);
    await this.closed;
    clearTimeout(late);
  }

  async #answer(message: dbus.Message): Promise<void> {
    const { sender, path, member, signature, body, flags } = message;
    const call = { sender, path, interface: message.interface, member, signature, args: body };
    const reply = await this.#options.answer(call, this).catch((error): Reply => {
      this.#options.log(`D-Bus call ${member} of ${path}: ${asLibvirtError(error).message}`);
      return { error: FAILED, text: 'internal error' };
    });
    if ((flags & NO_REPLY_EXPECTED) !== 0) return;
    if ('error' in reply) {
      this.#send(errorMessage(message, reply.error, reply.text));
    } else if (!this.#send(dbus.Message.newMethodReturn(message, reply.signature, [...reply.values]))) {
      this.#send(errorMessage(message, FAILED, 'the reply cannot be sent over D-Bus'));
    }
  }

  /** Returns false for a message that D-Bus cannot carry, for instance with a NUL in a string. */
  #send(message: dbus.Message): boolean {
    if (!this.#stream.writable) return true;
    try {
      this.#raw.send(message);
      return true;
    } catch (error) {
      this.#options.log(`D-Bus message cannot be sent: ${asLibvirtError(error).message}`);
      return false;
    }
  }

  async #askCredentials(sender: string): Promise<Credentials> {
    const [known] = await this.#ask('GetConnectionCredentials', 's', sender);
    const { UnixUserID, UnixGroupIDs } = known as Readonly<Record<string, dbus.Variant | undefined>>;
    return { uid: UnixUserID?.value, gids: UnixGroupIDs?.value ?? [] };
  }

  /** Calls a method of the bus itself. */
  #ask(member: string, signature: string, ...body: readonly unknown[]): Promise<readonly unknown[]> {
    const method = { ...THE_BUS, interface: THE_BUS.destination, member, signature, body };
    return this.call(method, AbortSignal.timeout(ANSWER_TIMEOUT_MS));
  }
}

/**
 * dbus-next parses messages in a listener of the stream, in which an exception would end the process. A message that it
 * cannot read (a missing file descriptor) must not do that. It has already been taken from the stream, so the next one
 * can be read; its sender gets no answer.
 */
function keepReading(stream: Socket, log: (text: string) => void): void {
  const { emit } = stream;
  stream.emit = (event: string | symbol, ...args: readonly unknown[]): boolean => {
    for (;;) {
      try {
        return Reflect.apply(emit, stream, [event, ...args]);
      } catch (error) {
        log(`D-Bus message dropped: ${asLibvirtError(error).message}`);
        if (event !== 'readable') return true;
      }
    }
  };
}

function hello(raw: RawBus, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    raw.once('connect', resolve);
    // Handles later errors, too: the stream reports the end of the connection, and unreadable messages do not end it.
    raw.on('error', reject);
    raw.on('message', (message) => {
      if (raw.name !== null || message.type !== dbus.MessageType.ERROR) return;
      // dbus-next throws a refused Hello where it cannot be caught. With this serial it does not find its Hello.
      message.replySerial = '';
      reject(new Error(String(message.body[0] ?? message.errorName)));
    });
    raw._connection.stream.once('close', () => reject(new Error('the bus has closed the connection')));
    signal.addEventListener('abort', () => reject(new Error('the bus does not answer')), { once: true });
  });
}

/** D-Bus strings cannot hold NUL. */
function errorMessage({ serial, sender }: dbus.Message, name: string, text: string): dbus.Message {
  return new dbus.Message({
    type: dbus.MessageType.ERROR,
    replySerial: serial as unknown as string,
    destination: sender,
    errorName: name,
    signature: 's',
    body: [printableLines(text)],
  });
}
