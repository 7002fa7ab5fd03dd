/**
 * Conversations of one JSON object per line, as QEMU's monitor and its guest agent hold them. The other end may be
 * hostile: a guest is at the agent's, and a device model that was broken into at the monitor's. It gets little memory
 * and little time of the event loop, whatever it sends and in whatever pieces.
 */

import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';

/** Bytes of one reply, with all that comes before it: QEMU_MONITOR_MAX_RESPONSE, QEMU_AGENT_MAX_RESPONSE of libvirt. */
const MAX_REPLY_BYTES = 10 << 20;
/**
 * A short line counts as this many bytes, because reading it takes as long. 10,000 events before a reply never happen.
 */
const MIN_LINE_BYTES = 1 << 10;
/**
 * Objects, lists and their members in one reply: more would keep the parser for long. 1,000 open images have 60,000.
 */
const MAX_REPLY_VALUES = 100_000;
/** How long lines are worked on before everything else in this process has its turn. */
const SLICE_MS = 2;

const NEWLINE = 0x0a;
/** `,`, `[` and `{`: each is followed by one more value. */
const VALUE_MARKS: ReadonlySet<number> = new Set([0x2c, 0x5b, 0x7b]);

/** The lines that come in, for one reader. Nothing is read ahead of it but what the socket's own buffer takes. */
export class SocketLines implements AsyncDisposable {
  readonly #lines: AsyncGenerator<Buffer, void>;
  #received = 0;

  constructor(socket: Socket) {
    this.#lines = this.#read(socket);
  }

  /** Call before a command is sent: bytes from now on count as its reply. */
  expectReply(): void {
    this.#received = 0;
  }

  /** The next line that is not empty; undefined when the other end has closed. RangeError: a reply without an end. */
  async next(): Promise<Buffer | undefined> {
    return (await this.#lines.next()).value ?? undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.return();
  }

  async *#read(socket: Socket): AsyncGenerator<Buffer, void> {
    const begun = new Gathered();
    let sliceEnd = performance.now() + SLICE_MS;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        this.#count(Math.max(end + 1 - start, MIN_LINE_BYTES));
        const line = begun.take(chunk.subarray(start, end));
        start = end + 1;
        if (!isBlank(line)) yield line;
        if (performance.now() < sliceEnd) continue;
        await setImmediate();
        sliceEnd = performance.now() + SLICE_MS;
      }
      this.#count(chunk.length - start);
      begun.add(chunk.subarray(start));
    }
  }

  #count(bytes: number): void {
    this.#received += bytes;
    if (this.#received > MAX_REPLY_BYTES) throw new RangeError(`no complete reply in ${MAX_REPLY_BYTES} bytes`);
  }
}

/**
 * The beginning of a line whose end has not come. Each byte is copied a few times at most, however small the pieces
 * are.
 */
class Gathered {
  #bytes = Buffer.alloc(0);
  #length = 0;

  add(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * length);
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    piece.copy(this.#bytes, this.#length);
    this.#length = length;
  }

  /** All of it, with the last piece; nothing is left. */
  take(last: Buffer): Buffer {
    if (this.#length === 0) return last;
    this.add(last);
    const whole = this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return whole;
  }
}

/** Parses a line. SyntaxError if it is not an object in JSON, RangeError if it has too many parts. */
export function parseReply(line: Buffer): object {
  let values = 0;
  for (const byte of line) if (VALUE_MARKS.has(byte)) values += 1;
  if (values > MAX_REPLY_VALUES) throw new RangeError(`a reply of more than ${MAX_REPLY_VALUES} values`);
  const reply: unknown = JSON.parse(line.toString());
  if (typeof reply !== 'object' || reply === null) throw new SyntaxError('a reply that is not an object');
  return reply;
}

/** QEMU ends its lines with CR LF. */
function isBlank(line: Buffer): boolean {
  return !line.some((byte) => byte > 0x20);
}
