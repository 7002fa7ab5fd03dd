/** The reading side of a connection, with back-pressure: a few frames a turn, and none while their results pile up. */

import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { asLibvirtError } from '../../errors.ts';
import { type FrameSink, FrameSplitter } from './frame-splitter.ts';
import type { TakeTurns } from './turns.ts';

/**
 * Bytes of our own answers and events that may wait for a side before we stop reading from it. Frames passed on wait
 * read by read.
 */
const HIGH_WATER_BYTES = 1024 * 1024;

/**
 * The most that is read at a time: a frame of a stream (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX). Memory is used as it is
 * filled.
 */
const READ_BYTES = 256 * 1024;

/** Node does not document the handle, but has always had it. */
type Accepted = Socket & { _handle?: { readonly fd?: number } | null };

/** The file descriptor of a connected socket; undefined if Node no longer shows it. */
export function descriptorOf({ _handle }: Accepted): number | undefined {
  return _handle?.fd !== undefined && _handle.fd >= 0 ? _handle.fd : undefined;
}

const NOTHING = Buffer.alloc(0);

/** Reads whose bytes may wait to be written elsewhere while the next one is under way. */
const AHEAD = 3;

/** Frames that are taken in one turn: microseconds of work. */
const FRAMES_A_TURN = 16;

interface Start {
  readonly sink: FrameSink;
  /** Called after each frame, and whenever what waits has become less: it is to call `flow`. */
  readonly regulate: () => void;
  readonly takeTurns: TakeTurns;
  /** The other side's socket, to which frames are passed on. */
  readonly into?: Socket;
}

/**
 * Reads into the same few buffers again and again, but into none whose bytes still wait to be written elsewhere. Node's
 * streams take a new one for every read, which makes a stream of gigabytes gigabytes for the garbage collector.
 */
export class Inlet {
  /** Nothing is read from it before `start`. */
  readonly socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  /** A ring. The last `#waiting` hold bytes still queued for writing; `#at` is read into next. */
  readonly #buffers: Buffer[] = [];
  #at = 0;
  #waiting = 0;
  /** Bytes that have been read and not taken yet. Until they are, nothing more is read. */
  #rest: Buffer = NOTHING;
  #flowing = true;
  #ask: () => void = () => {};

  private constructor(open: (options: SocketConstructorOpts & ConnectOpts) => Socket) {
    const onread = {
      buffer: () => this.#buffer(),
      callback: (length: number, buffer: Uint8Array) => {
        this.#take((buffer as Buffer).subarray(0, length));
        return true;
      },
    };
    // The last one is an option of every stream, which net.Socket passes on.
    this.socket = open({ allowHalfOpen: false, onread, ...{ writableHighWaterMark: HIGH_WATER_BYTES } });
    this.socket.on('error', () => this.socket.destroy());
  }

  static connecting(path: string): Inlet {
    return new Inlet((options) => new Socket(options).connect(path));
  }

  /**
   * Takes over a connection that has just been accepted: they end together, by the same error. (`onread` is an option
   * of sockets that connect; net.Server has none.)
   */
  static over(accepted: Accepted): Inlet {
    return new Inlet((options) => {
      const handle = accepted._handle;
      accepted._handle = null;
      const socket = new Socket({ ...options, ...{ handle, pauseOnCreate: true } });
      socket.on('error', (error) => accepted.destroy(error)).once('close', () => accepted.destroy());
      accepted.once('close', () => socket.destroy());
      return socket;
    });
  }

  /** Feeds the frames to a sink. A stream that is not one of frames ends the connection with that error; no other. */
  start({ sink, regulate, takeTurns, into }: Start): void {
    const splitter = new FrameSplitter(sink);
    const turn = takeTurns(() => {
      try {
        this.#takeFrames(splitter, regulate);
        if (this.#rest.length === 0 && into && into.writableLength > 0) this.#wait(into, regulate);
        regulate();
      } catch (error) {
        this.socket.destroy(asLibvirtError(error));
      }
      return this.#mayTake;
    });
    this.#ask = () => turn.ask();
    this.#take = (chunk) => {
      this.#rest = chunk;
      turn.ask();
      if (this.#rest.length > 0) this.socket.pause();
    };
    this.socket.on('drain', regulate);
    // resume() alone would begin in a later turn, whether or not the flow has been stopped by then.
    this.socket.read(0);
    this.socket.resume();
  }

  /** Continues reading, or leaves further bytes in the kernel until they can be taken. */
  flow(on: boolean): void {
    this.#flowing = on;
    if (this.#mayTake) this.#ask();
    const read = on && this.#rest.length === 0 && this.#waiting < AHEAD;
    if (read && this.socket.isPaused()) this.socket.resume();
    if (!read && !this.socket.isPaused()) this.socket.pause();
  }

  get #mayTake(): boolean {
    return this.#flowing && this.#rest.length > 0 && !this.socket.destroyed;
  }

  #takeFrames(splitter: FrameSplitter, regulate: () => void): void {
    for (let frames = 0; frames < FRAMES_A_TURN && this.#mayTake; frames += 1) {
      this.#rest = splitter.step(this.#rest);
      regulate();
    }
  }

  /** The buffer that was read last is in use until everything that was passed on so far is written. */
  #wait(into: Socket, regulate: () => void): void {
    this.#waiting += 1;
    into.write(NOTHING, () => {
      this.#waiting -= 1;
      regulate();
    });
  }

  #buffer(): Buffer {
    // Asked for as soon as a read is over: its bytes may not have been taken yet.
    if (this.#waiting > 0 || this.#rest.length > 0) this.#at = (this.#at + 1) % (AHEAD + 1);
    this.#buffers[this.#at] ??= Buffer.allocUnsafeSlow(READ_BYTES);
    return this.#buffers[this.#at] as Buffer;
  }
}
