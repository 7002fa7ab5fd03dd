/** Cuts a byte stream into frames, without keeping or copying those that are only passed on. */

import { LibvirtError } from '../../errors.ts';
import { decodeHeader, FDS_MAX, FRAME_MAX, type FrameHeader, HEADER_BYTES, TYPE } from './frames.ts';

/** How a frame is handled: it is collected, passed on as its bytes arrive, or dropped. */
export type Wanted = 'whole' | 'pass' | 'drop';

/** Receives the frames. The calls come in the order of the stream, from inside `step`. */
export interface FrameSink {
  /** A frame begins. Nothing of it has been handed out yet. An error thrown here ends the stream. */
  begin(header: FrameHeader): Wanted;
  /** A frame wanted whole, without the bytes that carry file descriptors. The receiver may keep it. */
  whole(header: FrameHeader, frame: Buffer): void;
  /** The next bytes of a frame to be passed on, as a view of those that came; `last` ends it. */
  pass(bytes: Buffer, last: boolean): void;
}

/** The current frame: `left` counts its bytes yet to come, `fds` those after it that carry file descriptors. */
interface Current {
  readonly header: FrameHeader;
  readonly wanted: Wanted;
  /** The bytes so far of a frame wanted whole. Grows with them: a length that is only claimed costs nothing. */
  collected: Buffer;
  left: number;
  fds: number;
}

const NOTHING = Buffer.alloc(0);

/**
 * Replies with file descriptors begin their payload with a count of these, and that many single bytes follow the frame,
 * outside its length (virnetmessage.c). They belong to the frame here. Calls with file descriptors are like that, too,
 * but no client may send one: a stream of a client's is cut by the length alone, so that nothing hides in the rest.
 */
const carriesFds = ({ type }: FrameHeader): boolean => type === TYPE.REPLY_WITH_FDS;

/** Cuts the stream of one side of a connection. */
export class FrameSplitter {
  readonly #sink: FrameSink;
  /** The beginning of a frame, until its header (and count of descriptors) is complete. */
  #head: Buffer = NOTHING;
  #current: Current | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** All of `chunk`, as `step` does it. Keeps no reference to the chunk, except by what is passed. */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) rest = this.step(rest);
  }

  /**
   * Takes bytes up to the end of the current frame at most, and returns those after it. Throws an RPC error if the
   * stream cannot be one of frames; nothing more can be read from it then.
   */
  step(bytes: Buffer): Buffer {
    if (this.#current) return this.#continue(this.#current, bytes);
    const joined = this.#head.length > 0 ? Buffer.concat([this.#head, bytes]) : bytes;
    const current = this.#begin(joined);
    return current ? this.#continue(current, joined) : NOTHING;
  }

  #begin(bytes: Buffer): Current | undefined {
    const header = bytes.length >= HEADER_BYTES ? checked(decodeHeader(bytes)) : undefined;
    if (!header || (carriesFds(header) && bytes.length < HEADER_BYTES + 4)) {
      this.#head = Buffer.from(bytes);
      return undefined;
    }
    this.#head = NOTHING;
    const wanted = this.#sink.begin(header);
    const fds = carriesFds(header) ? bytes.readUInt32BE(HEADER_BYTES) : 0;
    if (fds > FDS_MAX) throw broken(`${fds} file descriptors with a message, ${FDS_MAX} are the most`);
    this.#current = { header, wanted, collected: NOTHING, left: header.length, fds };
    return this.#current;
  }

  #continue(current: Current, bytes: Buffer): Buffer {
    const frame = bytes.subarray(0, current.left);
    if (current.wanted === 'whole') collect(current, frame);
    current.left -= frame.length;
    const dummies = Math.min(current.fds, bytes.length - frame.length);
    current.fds -= dummies;
    const taken = frame.length + dummies;
    const last = current.left === 0 && current.fds === 0;
    if (last) this.#current = undefined;
    if (current.wanted === 'pass') this.#sink.pass(bytes.subarray(0, taken), last);
    if (current.wanted === 'whole' && last) this.#sink.whole(current.header, current.collected);
    return bytes.subarray(taken);
  }
}

function collect(current: Current, piece: Buffer): void {
  const { length } = current.header;
  const filled = length - current.left;
  const end = filled + piece.length;
  if (filled === 0 && end === length) {
    current.collected = Buffer.from(piece);
    return;
  }
  if (end > current.collected.length) {
    const larger = Buffer.allocUnsafe(Math.min(length, Math.max(end, current.collected.length * 2)));
    current.collected.copy(larger);
    current.collected = larger;
  }
  piece.copy(current.collected, filled);
}

function checked(header: FrameHeader): FrameHeader {
  const least = carriesFds(header) ? HEADER_BYTES + 4 : HEADER_BYTES;
  if (header.length < least) throw broken(`packet of ${header.length} bytes is too small, want ${least}`);
  if (header.length > FRAME_MAX) throw broken(`packet of ${header.length} bytes is too large, want ${FRAME_MAX}`);
  return header;
}

function broken(detail: string): LibvirtError {
  return new LibvirtError('RPC', detail, { domain: 'RPC' });
}
