/** The writing end of a connection: frames leave it one after another, whatever way they come. */

import type { Socket } from 'node:net';
import { LibvirtError } from '../../errors.ts';

/** Mebibytes that may wait for a peer that does not read, before it is given up. Several of the largest messages. */
const BACKLOG_MAX_MIB = 64;

/** Frames that are handed on in pieces, and frames of our own, which wait while another is half-written. */
export class FrameOutlet {
  readonly #socket: Socket;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #halfWritten = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** The next bytes of the frame under way; `last` ends it. */
  pass(bytes: Buffer, last: boolean): void {
    this.#write(bytes);
    this.#halfWritten = !last;
    if (last) for (const frame of this.#waiting.splice(0)) this.#write(frame);
    if (last) this.#waitingBytes = 0;
  }

  /** A whole frame, as soon as the one under way is over. */
  send(frame: Buffer): void {
    if (this.#socket.writableLength + this.#waitingBytes > BACKLOG_MAX_MIB * 1024 * 1024)
      this.#socket.destroy(unread());
    if (!this.#halfWritten) {
      this.#write(frame);
      return;
    }
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
  }

  /**
   * Ends the connection when all has been written; as libvirtd does it, without a shutdown first: its clients tell an
   * end of file from an I/O error by that. `error` is for the socket's own listeners.
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
