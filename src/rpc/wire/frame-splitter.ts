/** Cuts a byte stream into frames without holding, or copying, those that are only to be handed on. */

import { LibvirtError } from '../../errors.ts';
import { decodeHeader, FDS_MAX, FRAME_MAX, type FrameHeader, HEADER_BYTES, TYPE } from './frames.ts';

/** What becomes of a frame: collected, handed on as its bytes come, or dropped. */
export type Wanted = 'whole' | 'pass' | 'drop';

/** Who receives the frames. The calls come in the order of the stream, from inside `push`. */
export interface FrameSink {
  /** A frame begins. Nothing of it has been handed out yet. */
  begin(header: FrameHeader): Wanted;
  /** A frame wanted whole, without the bytes that carry file descriptors. It is the receiver's to keep. */
  whole(header: FrameHeader, frame: Buffer): void;
  /** The next bytes of a frame to be passed on, as a view of the chunk; `last` ends it. */
  pass(bytes: Buffer, last: boolean): void;
}

/** A frame on its way: `left` counts its bytes yet to come, `fds` those after it that carry file descriptors. */
interface Current {
  readonly header: FrameHeader;
  readonly wanted: Wanted;
  /** Of a frame wanted whole: what has come. Grows with it, so that a length that is only claimed costs nothing. */
  collected: Buffer;
  left: number;
  fds: number;
}

const NOTHING = Buffer.alloc(0);

const carriesFds = ({ type }: FrameHeader): boolean => type === TYPE.CALL_WITH_FDS || type === TYPE.REPLY_WITH_FDS;

/**
 * Frames of types 4 and 5 begin their payload with a count of file descriptors, and that many single bytes follow the
 * frame, outside its length (virnetmessage.c). They belong to the frame here, and go its way.
 */
export class FrameSplitter {
  readonly #sink: FrameSink;
  /** The beginning of a frame, until its header (and count of descriptors) is complete. */
  #head: Buffer = NOTHING;
  #current: Current | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /**
   * Throws an RPC error when the stream cannot be one of frames; it is of no use from there on. Nothing but what is passed
   * refers to the chunk afterwards.
   */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#current) rest = this.#continue(this.#current, rest);
      else rest = this.#begin(this.#head.length > 0 ? Buffer.concat([this.#head, rest]) : rest);
    }
  }

  #begin(bytes: Buffer): Buffer {
    const header = bytes.length >= HEADER_BYTES ? checked(decodeHeader(bytes)) : undefined;
    if (!header || (carriesFds(header) && bytes.length < HEADER_BYTES + 4)) {
      this.#head = Buffer.from(bytes);
      return NOTHING;
    }
    const fds = carriesFds(header) ? bytes.readUInt32BE(HEADER_BYTES) : 0;
    if (fds > FDS_MAX) throw broken(`${fds} file descriptors with a message, ${FDS_MAX} are the most`);
    this.#head = NOTHING;
    this.#current = { header, wanted: this.#sink.begin(header), collected: NOTHING, left: header.length, fds };
    return bytes;
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
