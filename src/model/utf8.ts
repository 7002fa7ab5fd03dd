/**
 * Text that may not be UTF-8, without loss: names, documents and files come from clients and disks as bytes. In a text that
 * is not UTF-8, each byte that is not ASCII becomes a lone surrogate, U+DC80 to U+DCFF, as Python's `surrogateescape` has it.
 * No valid text has such characters, so none of ours is ever equal to one of these.
 */

import { isUtf8 } from 'node:buffer';

/** Returns the text of the bytes. */
export function decodeUtf8(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  const units = Buffer.alloc(2 * bytes.length);
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    units.writeUInt16LE(byte < 0x80 ? byte : 0xdc00 + byte, 2 * at);
  }
  return units.toString('utf16le');
}

/** Returns the bytes as a string of C has them: up to the first NUL. */
export function beforeNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}

/** Returns the bytes of the text: those that decodeUtf8 was given, if it made the text. */
export function encodeUtf8(text: string): Buffer {
  // In one go, because a client may send a name of 64 KiB of such bytes. (latin1 takes the low byte of each character.)
  if (!/[\udc80-\udcff]/u.test(text)) return Buffer.from(text);
  if (/^[\0-\x7f\udc80-\udcff]*$/u.test(text)) return Buffer.from(text, 'latin1');
  const parts = text.split(/([\udc80-\udcff]+)/u);
  return Buffer.concat(parts.map((part, index) => (index % 2 ? Buffer.from(part, 'latin1') : Buffer.from(part))));
}
