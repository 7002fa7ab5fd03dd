/**
 * The client's side of one connection to a libvirtd: sends calls, matches replies by serial, receives events, answers
 * pings.
 */

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LibvirtError, receivedError } from '../../errors.ts';
import { type Codec, nothing } from '../wire/codec.ts';
import { FrameSplitter } from '../wire/frame-splitter.ts';
import { decodePayload, encodeFrame, type FrameHeader, KEEPALIVE, PROGRAM, STATUS, TYPE } from '../wire/frames.ts';
import { descriptorOf } from '../wire/inlet.ts';
import {
  BLOCK_JOB_EVENT,
  type BlockJobMessage,
  blockJobMessage,
  LIFECYCLE_EVENT,
  type LifecycleMessage,
  lifecycleMessage,
  remoteError,
} from '../wire/messages.ts';

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

/** An event that this client registers for. */
export type EventMessage =
  | ({ readonly kind: 'lifecycle' } & LifecycleMessage<number>)
  | ({ readonly kind: 'block-job' } & BlockJobMessage);

/** Receives events and the end of the connection. Called from inside the stream's own events. */
interface ClientConnectionListener {
  event(message: EventMessage): void;
  /** Called once, when the connection cannot be used any more. */
  closed(error: LibvirtError): void;
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
  readonly #stream: Duplex;
  readonly #listener: ClientConnectionListener;
  readonly #pending = new Map<number, Pending>();
  #serial = 0;
  #closed = false;
  #pings: NodeJS.Timeout | undefined;
  #unanswered = 0;
  #alwaysPings = false;

  /** `path`: where the stream leads, for messages. */
  constructor(path: string, stream: Duplex, listener: ClientConnectionListener) {
    this.#path = path;
    this.#stream = stream;
    this.#listener = listener;
    const splitter = new FrameSplitter({
      begin: (header) => (isForUs(header) ? 'whole' : 'drop'),
      whole: (header, frame) => this.#receive(header, frame),
      pass: () => {},
    });
    stream.on('data', (chunk) => {
      try {
        splitter.push(chunk);
      } catch (error) {
        this.#close('sent what is not libvirt RPC', error);
      }
    });
    stream.on('error', (error) => this.#close('was lost', error));
    stream.on('close', () => this.#close('was lost'));
  }

  /** Its descriptor; undefined if it is closed, or not a socket. */
  get fd(): number | undefined {
    return this.#stream instanceof Socket ? descriptorOf(this.#stream) : undefined;
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
      this.#stream.write(frame);
    });
  }

  [Symbol.dispose](): void {
    this.#close('was closed');
  }

  #receive(header: FrameHeader, frame: Buffer): void {
    if (header.program === PROGRAM.KEEPALIVE) this.#keepalive(header);
    else if (header.type !== TYPE.MESSAGE) this.#reply(header, frame);
    else if (header.procedure === LIFECYCLE_EVENT)
      this.#listener.event({ kind: 'lifecycle', ...decodePayload(lifecycleMessage, frame) });
    else this.#listener.event({ kind: 'block-job', ...decodePayload(blockJobMessage, frame) });
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
    this.#stream.write(encodeFrame(header, nothing, undefined));
  }

  /** From here on pings, too, while no call waits: for those who wait for events. */
  keepAlive(): void {
    this.#alwaysPings = true;
    this.#watch();
  }

  /** Pings for as long as calls wait. A call itself has no timeout: a save of many GiB takes long. */
  #watch(): void {
    this.#pings ??= setInterval(() => {
      if (this.#pending.size === 0 && !this.#alwaysPings) this.#unwatch();
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
    this.#stream.destroy();
    for (const { name, fail } of this.#pending.values()) fail(lost(this.#path, how, name, cause));
    this.#pending.clear();
    this.#listener.closed(ended(this.#path, how, cause));
  }
}

/** Handles replies, the events that it may have registered for, and pings. This client uses no streams. */
function isForUs({ program, type, procedure }: FrameHeader): boolean {
  if (program === PROGRAM.KEEPALIVE) return true;
  if (program === PROGRAM.XLSNAP) return type === TYPE.REPLY;
  if (program !== PROGRAM.REMOTE) return false;
  const isEvent = procedure === LIFECYCLE_EVENT || procedure === BLOCK_JOB_EVENT;
  return type === TYPE.REPLY || (type === TYPE.MESSAGE && isEvent);
}

function lost(path: string, how: string, name: string, cause?: unknown): LibvirtError {
  return ended(path, `${how} during ${name}; whether that was carried out is not known`, cause);
}

/** A program that was the way there may have said why it ended. */
function ended(path: string, how: string, cause?: unknown): LibvirtError {
  const text = `connection to libvirtd at '${path}' ${how}`;
  const said = cause instanceof LibvirtError ? `${cause.detail} (${text})` : text;
  return new LibvirtError('RPC', said, { ...RPC, cause });
}
