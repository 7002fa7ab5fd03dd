/** The writing side of a connection: whole frames, one after another, whether passed on in pieces or our own. */

import type { Socket } from 'node:net';
import { LibvirtError } from '../../errors.ts';

/**
 * Mebibytes that may wait for a peer that does not read, before its connection is ended. Several of the largest
 * messages.
 */
const BACKLOG_MAX_MIB = 64;

/** Sends frames passed on in pieces, and frames of our own, which wait while another is half-written. */
export class FrameOutlet {
  readonly #socket: Socket;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #halfWritten = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Writes the next bytes of the current frame; `last` ends it. */
  pass(bytes: Buffer, last: boolean): void {
    this.#write(bytes);
    this.#halfWritten = !last;
    if (!last) return;
    for (const frame of this.#waiting.splice(0)) this.#write(frame);
    this.#waitingBytes = 0;
  }

  /** Writes whole frames, as soon as the current one is complete. */
  send(frames: Buffer): void {
    if (!this.#socket.writable) return;
    if (this.#socket.writableLength + this.#waitingBytes > BACKLOG_MAX_MIB * 1024 * 1024) {
      this.#socket.destroy(unread());
      this.#waiting.length = 0;
    } else if (this.#halfWritten) {
      this.#waiting.push(frames);
      this.#waitingBytes += frames.length;
    } else this.#write(frames);
  }

  /**
   * Ends the connection when all has been written; as libvirtd does it, without a shutdown first: by that, clients
   * distinguish an end of file from an I/O error. `error` is for the socket's own listeners.
   */
  close(error?: Error): void {
    this.#socket.write('', () => this.#socket.destroy(error));
  }

  #write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }
}

function unread(): LibvirtError {
  return new LibvirtError('RPC', `more than ${BACKLOG_MAX_MIB} MiB wait, and are not read`, { domain: 'RPC' });
}
