/** The stream of an embedded guest's memory image, in place of libxl's stream. */

import { createHash } from 'node:crypto';
import { LibvirtError } from '../errors.ts';
import { openImage, readAt } from '../files/open-image.ts';

/** The RAM of every embedded guest, whatever its definition says: no program runs in it. */
export const RAM_BYTES = 4 << 20;

/**
 * The stream that follows libvirt's save header: magic, length of the RAM (64 bits, little endian), SHA-256 of it, RAM.
 */
export const STREAM_MAGIC = Buffer.from('xlsnap test RAM\n', 'latin1');

/** Offset of the length of the RAM. */
export const LENGTH_AT = STREAM_MAGIC.length;

/** Offset of the SHA-256 of the RAM. */
export const DIGEST_AT = LENGTH_AT + 8;

/** Offset of the RAM. */
export const RAM_AT = DIGEST_AT + 32;

/** Returns RAM as a stream for a memory image. */
export function encodeMemoryStream(ram: Buffer): Buffer {
  const head = Buffer.alloc(RAM_AT);
  STREAM_MAGIC.copy(head);
  head.writeBigUInt64LE(BigInt(ram.length), LENGTH_AT);
  createHash('sha256').update(ram).digest().copy(head, DIGEST_AT);
  return Buffer.concat([head, ram]);
}

/** Returns the RAM in an image's stream. Refuses a stream that is not ours, was cut short or was changed. */
export async function readMemoryStream(path: string, offset: number): Promise<Buffer> {
  const refuse = (text: string): never => {
    throw new LibvirtError('OPERATION_FAILED', `memory image '${path}' ${text}`);
  };
  await using file = await openImage(path);
  const { size } = await file.stat();
  if (size < offset + RAM_AT) refuse('is cut short');
  const head = await readAt(file, offset, RAM_AT);
  if (!head.subarray(0, LENGTH_AT).equals(STREAM_MAGIC)) refuse('is not of the embedded host');
  const saved = head.readBigUInt64LE(LENGTH_AT);
  const found = size - offset - RAM_AT;
  if (saved !== BigInt(RAM_BYTES) || found !== RAM_BYTES) refuse(`has ${found} bytes of RAM where ${saved} were saved`);
  const ram = await readAt(file, offset + RAM_AT, RAM_BYTES);
  const digest = createHash('sha256').update(ram).digest();
  if (!digest.equals(head.subarray(DIGEST_AT))) refuse('is damaged: the digest of its RAM is wrong');
  return ram;
}
