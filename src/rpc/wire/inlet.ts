/** The reading end of a connection: frames are taken off it at the pace that what they cause can be taken. */

import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { asLibvirtError } from '../../errors.ts';
import { type FrameSink, FrameSplitter } from './frame-splitter.ts';

/** Bytes of our own answers and events that may wait for a side before it is left alone. What is passed on waits read by read. */
const HIGH_WATER_BYTES = 1024 * 1024;

/** The most that is read at a time: a frame of a stream (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX). Memory is taken as it is filled. */
const READ_BYTES = 256 * 1024;

/** Node does not document the handle, and has had it since it began. */
type Accepted = Socket & { _handle?: { readonly fd?: number } | null };

/** Of a socket that is connected; undefined on the day that Node no longer tells. */
export function descriptorOf({ _handle }: Accepted): number | undefined {
  return _handle?.fd !== undefined && _handle.fd >= 0 ? _handle.fd : undefined;
}

const NOTHING = Buffer.alloc(0);

/** Reads whose bytes may wait to be written elsewhere while the next one is under way. */
const AHEAD = 3;

/**
 * Reads into the same few buffers over and over; into none whose bytes wait to be written elsewhere. Node's streams take a
 * new one for every read, and a stream of gigabytes then is gigabytes for the garbage collector.
 */
export class Inlet {
  /** Nothing is read from it before `start`. */
  readonly socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  /** Of which the last `#waiting` that were read into hold bytes that wait, and `#at` is the next one. */
  readonly #buffers: Buffer[] = [];
  #at = 0;
  #waiting = 0;

  private constructor(open: (options: SocketConstructorOpts & ConnectOpts) => Socket) {
    const onread = {
      buffer: () => this.#buffer(),
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
        if (into && into.writableLength > 0) this.#wait(into, regulate);
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
    const flow = on && this.#waiting < AHEAD;
    if (flow && this.socket.isPaused()) this.socket.resume();
    if (!flow && !this.socket.isPaused()) this.socket.pause();
  }

  /** What has been read last is in use until all that has been passed on so far is written. */
  #wait(into: Socket, regulate: () => void): void {
    this.#waiting += 1;
    into.write(NOTHING, () => {
      this.#waiting -= 1;
      regulate();
    });
  }

  #buffer(): Buffer {
    if (this.#waiting > 0) this.#at = (this.#at + 1) % (AHEAD + 1);
    this.#buffers[this.#at] ??= Buffer.allocUnsafeSlow(READ_BYTES);
    return this.#buffers[this.#at] as Buffer;
  }
}
