/** The writing end of a connection: frames leave it one after another, whatever way they come. */

import type { Socket } from 'node:net';

/** Bytes that may wait for a peer that does not read, before it is given up. Several of the largest messages. */
const BACKLOG_MAX_BYTES = 64 * 1024 * 1024;

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
    if (this.#socket.writableLength + this.#waitingBytes > BACKLOG_MAX_BYTES) this.#socket.destroy();
    if (!this.#halfWritten) {
      this.#write(frame);
      return;
    }
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
  }

  /**
   * Ends the connection when all has been written; as libvirtd does it, without a shutdown first: its clients tell an
   * end of file from an I/O error by that.
   */
  close(): void {
    this.#socket.write('', () => this.#socket.destroy());
  }

  #write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }
}
