/**
 * Text that may not be UTF-8, without loss: names, documents and files come from clients and disks as bytes. In a text that
 * is not UTF-8, each byte that is not ASCII becomes a lone surrogate, U+DC80 to U+DCFF, as Python's `surrogateescape` has it.
 * No valid text has such characters, so none of ours is ever equal to one of these.
 */

import { isUtf8 } from 'node:buffer';

/** Returns the text of the bytes. */
export function decodeUtf8(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  return Buffer.from(Uint16Array.from(bytes, (byte) => (byte < 0x80 ? byte : 0xdc00 + byte)).buffer).toString(
    'utf16le',
  );
}

/** Returns the bytes of the text: those that decodeUtf8 was given, if it made the text. */
export function encodeUtf8(text: string): Buffer {
  const parts = text.split(/([\udc80-\udcff]+)/u);
  if (parts.length === 1) return Buffer.from(text);
  return Buffer.concat(parts.map((part, index) => (index % 2 ? Buffer.from(part, 'latin1') : Buffer.from(part))));
}
