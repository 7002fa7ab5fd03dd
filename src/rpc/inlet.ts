/** The reading end of a connection: frames are taken off it at the pace that what they cause can be taken. */

import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { asLibvirtError } from '../errors.ts';
import { type FrameSink, FrameSplitter } from './frame-splitter.ts';

/** Bytes of our own answers and events that may wait for a side before it is left alone. What is passed on waits read by read. */
const HIGH_WATER_BYTES = 1024 * 1024;

/** The most that is read at a time, as in Node's own streams. Four times as much makes no stream faster. */
const READ_BYTES = 64 * 1024;

/** Node does not document the handle, and has had it since it began. */
type Accepted = Socket & { _handle?: object | null };

const NOTHING = Buffer.alloc(0);

/**
 * Reads into one buffer over and over; not while bytes of it wait to be written elsewhere. Node's streams take a new one for
 * every read, and a stream of gigabytes then is gigabytes for the garbage collector.
 */
export class Inlet {
  /** Nothing is read from it before `start`. */
  readonly socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  #held = false;

  private constructor(open: (options: SocketConstructorOpts & ConnectOpts) => Socket) {
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, buffer: Uint8Array) => {
        this.#take((buffer as Buffer).subarray(0, length));
        return true;
      },
    };
    // The last one is an option of every stream, which net.Socket hands on.
    this.socket = open({ allowHalfOpen: false, onread, ...{ writableHighWaterMark: HIGH_WATER_BYTES } });
    this.socket.on('error', () => this.socket.destroy());
  }

  static connecting(path: string): Inlet {
    return new Inlet((options) => new Socket(options).connect(path));
  }

  /**
   * Takes over a connection that has just been accepted: they end together, by the same error. (`onread` is an option of
   * sockets that connect; net.Server has none.)
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

  /**
   * Feeds the frames to `sink`, and calls `regulate` whenever it may be time to. What is passed on, if anything, goes to
   * `into`. A stream that cannot be one of frames ends the connection with that error; nobody else's.
   */
  start(sink: FrameSink, regulate: () => void, into?: Socket): void {
    const splitter = new FrameSplitter(sink);
    this.#take = (chunk) => {
      try {
        splitter.push(chunk);
        if (into && into.writableLength > 0) this.#hold(into, regulate);
        regulate();
      } catch (error) {
        this.socket.destroy(asLibvirtError(error));
      }
    };
    this.socket.on('drain', regulate);
    // resume() alone would begin in a later turn, whether or not the flow has been stopped by then.
    this.socket.read(0);
    this.socket.resume();
  }

  /** Reads on, or leaves what comes in the kernel until it can be taken. */
  flow(on: boolean): void {
    const flow = on && !this.#held;
    if (flow && this.socket.isPaused()) this.socket.resume();
    if (!flow && !this.socket.isPaused()) this.socket.pause();
  }

  /** Until all that has been passed on is written. */
  #hold(into: Socket, regulate: () => void): void {
    this.#held = true;
    into.write(NOTHING, () => {
      this.#held = false;
      regulate();
    });
  }
}
