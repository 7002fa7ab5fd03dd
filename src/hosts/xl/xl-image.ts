/**
 * Gives a memory image to `xl restore`: the header that xl writes itself (struct save_file_header in its xl.h, with the config
 * as JSON), and then the stream of the image. So the guest gets the config that it is to have now, and the image stays as it
 * is: libvirt can restore it, too.
 */

import { createWriteStream } from 'node:fs';
import { endianness } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { systemError } from '../../errors.ts';
import { openImage } from '../../files/open-image.ts';
import type { XlConfig } from '../../xml/xl/config.ts';

const MAGIC = Buffer.from('Xen saved domain, xl format\n \0 \r', 'latin1');
const BYTE_ORDER = 0x01020304;
/** XL_MANDATORY_FLAG_JSON, XL_MANDATORY_FLAG_STREAMv2. */
const MANDATORY = 0b11;
const OPTIONAL = 0;

/** The bytes before the stream. */
export function xlHeader(config: XlConfig): Buffer {
  const json = Buffer.from(`${JSON.stringify(config)}\0`);
  return Buffer.concat([MAGIC, ...[BYTE_ORDER, MANDATORY, OPTIONAL, 4 + json.length, json.length].map(uint32), json]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  if (endianness() === 'LE') bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return bytes;
}

/** Bytes that are read at a time. */
const CHUNK_BYTES = 1 << 20;

/** An image, and what it is to be restored as. */
export interface ImageForXl {
  readonly path: string;
  /** Of its stream. */
  readonly offset: number;
  readonly config: XlConfig;
}

/** Writes header and stream to the descriptor, which is closed at the end. A reader that has ended is no failure of ours. */
export async function feed({ path, offset, config }: ImageForXl, fd: number): Promise<void> {
  const pipe = createWriteStream('', { fd, highWaterMark: CHUNK_BYTES });
  try {
    await using image = await openImage(path);
    pipe.write(xlHeader(config));
    await pipeline(image.createReadStream({ start: offset, highWaterMark: CHUNK_BYTES, autoClose: false }), pipe);
  } catch (error) {
    pipe.destroy();
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE')
      throw systemError(error, `cannot read memory image '${path}'`);
  }
}
