/**
 * The client's side of one connection to a libvirtd: sends calls, matches replies by serial, receives events, answers
 * pings.
 */

import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { LibvirtError, receivedError, systemError } from '../../errors.ts';
import { type Codec, nothing } from '../wire/codec.ts';
import { FrameSplitter } from '../wire/frame-splitter.ts';
import { decodePayload, encodeFrame, type FrameHeader, KEEPALIVE, PROGRAM, STATUS, TYPE } from '../wire/frames.ts';
import { descriptorOf } from '../wire/inlet.ts';
import { LIFECYCLE_EVENT, type LifecycleMessage, lifecycleMessage, remoteError } from '../wire/messages.ts';

/** While calls wait, a libvirtd that answers no ping for this long counts as dead: virsh's own 6 times 5 s. */
const PING_INTERVAL_MS = 5_000;
const PINGS_MAX = 6;

const RPC = { domain: 'RPC' } as const;

/** A call of the remote program, unless it names another. */
export interface RemoteCall<A, R> {
  /** The function of libvirt's API, for messages. */
  readonly name: string;
  readonly program?: number;
  readonly number: number;
  readonly args: Codec<A>;
  readonly result: Codec<R>;
}

/** Sends one call and waits for its reply. */
export type Send = <A, R>(call: RemoteCall<A, R>, args: A) => Promise<R>;

/** Receives events and the end of the connection. Called from inside the socket's own events. */
interface ClientConnectionListener {
  lifecycle(message: LifecycleMessage): void;
  /** Called once, when the connection cannot be used any more. */
  closed(): void;
}

/** A call whose reply has not arrived yet. */
interface Pending {
  readonly name: string;
  reply(header: FrameHeader, frame: Buffer): void;
  fail(error: LibvirtError): void;
}

/**
 * Calls may overlap. None is ever repeated: a call that a lost connection has interrupted rejects with an error that
 * says so.
 */
export class ClientConnection implements Disposable {
  readonly #path: string;
  readonly #socket: Socket;
  readonly #listener: ClientConnectionListener;
  readonly #pending = new Map<number, Pending>();
  #serial = 0;
  #closed = false;
  #pings: NodeJS.Timeout | undefined;
  #unanswered = 0;

  private constructor(path: string, socket: Socket, listener: ClientConnectionListener) {
    this.#path = path;
    this.#socket = socket;
    this.#listener = listener;
    const splitter = new FrameSplitter({
      begin: (header) => (isForUs(header) ? 'whole' : 'drop'),
      whole: (header, frame) => this.#receive(header, frame),
      pass: () => {},
    });
    socket.on('data', (chunk) => {
      try {
        splitter.push(chunk);
      } catch (error) {
        this.#close('sent what is not libvirt RPC', error);
      }
    });
    socket.on('error', (error) => this.#close('was lost', error));
    socket.on('close', () => this.#close('was lost'));
  }

  /** Its descriptor; undefined if it is closed. */
  get fd(): number | undefined {
    return descriptorOf(this.#socket);
  }

  /** Rejects with libvirt's own "Failed to connect socket to '<path>': <reason>". */
  static async connect(
    path: string,
    listener: ClientConnectionListener,
    signal: AbortSignal,
  ): Promise<ClientConnection> {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect', { signal });
    } catch (error) {
      socket.destroy();
      throw systemError(error, `Failed to connect socket to '${path}'`, 'RPC');
    }
    return new ClientConnection(path, socket, listener);
  }

  get closed(): boolean {
    return this.#closed;
  }

  call<A, R>(call: RemoteCall<A, R>, args: A): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new LibvirtError('RPC', `connection to libvirtd at '${this.#path}' is closed`, RPC);
      const serial = this.#serial;
      const { program = PROGRAM.REMOTE, number: procedure } = call;
      const frame = encodeFrame({ program, procedure, type: TYPE.CALL, serial }, call.args, args);
      this.#serial += 1;
      this.#pending.set(serial, {
        name: call.name,
        reply: (header, reply) => {
          if (header.status === STATUS.OK) resolve(decodePayload(call.result, reply));
          else reject(receivedError(decodePayload(remoteError, reply)));
        },
        fail: reject,
      });
      this.#watch();
      this.#socket.write(frame);
    });
  }

  [Symbol.dispose](): void {
    this.#close('was closed');
  }

  #receive(header: FrameHeader, frame: Buffer): void {
    if (header.program === PROGRAM.KEEPALIVE) this.#keepalive(header);
    else if (header.type === TYPE.MESSAGE) this.#listener.lifecycle(decodePayload(lifecycleMessage, frame));
    else this.#reply(header, frame);
  }

  #reply(header: FrameHeader, frame: Buffer): void {
    const pending = this.#pending.get(header.serial);
    if (!pending) throw new LibvirtError('RPC', `no call waits for reply ${header.serial}`, RPC);
    try {
      pending.reply(header, frame);
    } catch (error) {
      pending.fail(error as LibvirtError);
    } finally {
      this.#pending.delete(header.serial);
    }
  }

  #keepalive({ procedure }: FrameHeader): void {
    if (procedure === KEEPALIVE.PING) this.#sendKeepalive(KEEPALIVE.PONG);
    if (procedure === KEEPALIVE.PONG) this.#unanswered = 0;
  }

  #sendKeepalive(procedure: number): void {
    const header = { program: PROGRAM.KEEPALIVE, procedure, type: TYPE.MESSAGE, serial: 0 };
    this.#socket.write(encodeFrame(header, nothing, undefined));
  }

  /** Pings for as long as calls wait. A call itself has no timeout: a save of many GiB takes long. */
  #watch(): void {
    this.#pings ??= setInterval(() => {
      if (this.#pending.size === 0) this.#unwatch();
      else if (this.#unanswered === PINGS_MAX) this.#close('was closed due to keepalive timeout');
      else this.#ping();
    }, PING_INTERVAL_MS).unref();
  }

  #ping(): void {
    this.#unanswered += 1;
    this.#sendKeepalive(KEEPALIVE.PING);
  }

  #unwatch(): void {
    clearInterval(this.#pings);
    this.#pings = undefined;
    this.#unanswered = 0;
  }

  #close(how: string, cause?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    this.#socket.destroy();
    for (const { name, fail } of this.#pending.values()) fail(lost(this.#path, how, name, cause));
    this.#pending.clear();
    this.#listener.closed();
  }
}

/** Handles replies, lifecycle events and pings. This client uses no streams and registers for no other events. */
function isForUs({ program, type, procedure }: FrameHeader): boolean {
  if (program === PROGRAM.KEEPALIVE) return true;
  if (program === PROGRAM.XLSNAP) return type === TYPE.REPLY;
  if (program !== PROGRAM.REMOTE) return false;
  return type === TYPE.REPLY || (type === TYPE.MESSAGE && procedure === LIFECYCLE_EVENT);
}

function lost(path: string, how: string, name: string, cause?: unknown): LibvirtError {
  const text = `connection to libvirtd at '${path}' ${how} during ${name}; whether that was carried out is not known`;
  return new LibvirtError('RPC', text, { ...RPC, cause });
}
