/** XDR (RFC 4506) as libvirt's wire uses it: big-endian, everything padded to four bytes. */

import { LibvirtError } from '../../errors.ts';
import { decodeUtf8, encodeUtf8 } from '../../model/utf8.ts';

/** REMOTE_STRING_MAX of libvirt's remote_protocol.x, in bytes. */
export const STRING_MAX = 4_194_304;

/** Items of a list if no smaller limit is known (REMOTE_DOMAIN_LIST_MAX and the like). */
export const LIST_MAX = 16_384;

/** The error for bytes that cannot be decoded. */
export function undecodable(): LibvirtError {
  return new LibvirtError('RPC', 'Unable to decode message payload', { domain: 'RPC' });
}

function unencodable(): LibvirtError {
  return new LibvirtError('RPC', 'Unable to encode message payload', { domain: 'RPC' });
}

/** Strings of up to this many characters are written faster here than by a call into Node. */
const SHORT = 64;

const padding = (length: number): number => -length & 3;

/** Bytes that an opaque or a string of `length` takes. */
export const padded = (length: number): number => length + padding(length);

/** Appends values to a growing buffer. Throws the RPC error of libvirt for what the wire cannot carry. */
export class XdrWriter {
  #buffer = Buffer.allocUnsafe(512);
  #length = 0;

  int(value: number): void {
    const at = this.#grow(4);
    this.#buffer.writeInt32BE(value, at);
  }

  uint(value: number): void {
    const at = this.#grow(4);
    this.#buffer.writeUInt32BE(value, at);
  }

  hyper(value: bigint): void {
    const at = this.#grow(8);
    this.#buffer.writeBigInt64BE(value, at);
  }

  uhyper(value: bigint): void {
    const at = this.#grow(8);
    this.#buffer.writeBigUInt64BE(value, at);
  }

  bool(value: boolean): void {
    this.uint(value ? 1 : 0);
  }

  /** opaque[n]: the length is not on the wire. */
  opaque(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length + padding(bytes.length));
    this.#buffer.set(bytes, at);
    this.#pad(at + bytes.length);
  }

  string(value: string, max = STRING_MAX): void {
    if (value.length <= SHORT && this.#shortAscii(value)) return;
    const bytes = encodeUtf8(value);
    if (bytes.length > max) throw unencodable();
    this.uint(bytes.length);
    this.opaque(bytes);
  }

  /** The count in front of a list. */
  count(length: number, max: number): void {
    if (length > max) throw unencodable();
    this.uint(length);
  }

  /** The bytes written so far. Further writes may move to another buffer. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** For names, of which a list has thousands. Returns false, with nothing written, if a character is not ASCII. */
  #shortAscii(value: string): boolean {
    const { length } = value;
    const before = this.#length;
    const at = this.#grow(4 + length + padding(length));
    this.#buffer.writeUInt32BE(length, at);
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) {
        this.#length = before;
        return false;
      }
      this.#buffer[at + 4 + index] = code;
    }
    this.#pad(at + 4 + length);
    return true;
  }

  /** Zeros from there to the end: three at most. */
  #pad(from: number): void {
    for (let at = from; at < this.#length; at += 1) this.#buffer[at] = 0;
  }

  #grow(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

/**
 * Takes values off a buffer, as leniently as libvirt does. Too few bytes are its "Unable to decode message payload".
 */
export class XdrReader {
  readonly #buffer: Buffer;
  #offset: number;

  constructor(buffer: Buffer, offset = 0) {
    this.#buffer = buffer;
    this.#offset = offset;
  }

  int(): number {
    return this.#buffer.readInt32BE(this.#take(4));
  }

  uint(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  hyper(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8));
  }

  uhyper(): bigint {
    return this.#buffer.readBigUInt64BE(this.#take(8));
  }

  /** Any value but 0 is true, as in C. */
  bool(): boolean {
    return this.uint() !== 0;
  }

  /** A view, not a copy. */
  opaque(length: number): Buffer {
    const at = this.#take(length + padding(length));
    return this.#buffer.subarray(at, at + length);
  }

  /**
   * Ends at the first NUL, if there is one: that is how libvirt, in C, sees the string. Bytes that are not UTF-8 stay
   * what they are (decodeUtf8): they are never read as another name.
   */
  string(max = STRING_MAX): string {
    const length = this.uint();
    if (length > max) throw undecodable();
    const bytes = this.opaque(length);
    const end = bytes.indexOf(0);
    return decodeUtf8(bytes.subarray(0, end < 0 ? length : end));
  }

  count(max: number): number {
    const length = this.uint();
    if (length > max) throw undecodable();
    return length;
  }

  /** All whole words that are left, as a view. */
  rest(): Buffer {
    return this.opaque((this.#buffer.length - this.#offset) & ~3);
  }

  #take(bytes: number): number {
    const at = this.#offset;
    if (bytes > this.#buffer.length - at) throw undecodable();
    this.#offset += bytes;
    return at;
  }
}
