/** What the readers of the formats' headers share. */

import { beforeNul } from '../../model/utf8.ts';
import { damaged, type ReadAt } from '../qemu/qcow2-header.ts';

/** What an image's header says. */
export interface ImageHeader {
  /** QEMU's name. */
  readonly format: string;
  /** As it stands in the header; `format` is absent if the header has none, and QEMU probes. */
  readonly backing?: { readonly name: string; readonly format?: string };
  /** Files that hold the image's data besides the image itself, as they stand in the header. */
  readonly dataFiles: readonly string[];
}

/** QEMU's limit (PATH_MAX - 1 of its own). */
const MAX_NAME_BYTES = 1023;

/** The name of a backing image in a header. QEMU reads it up to the first NUL. */
export async function readName(read: ReadAt, position: bigint, length: number): Promise<string> {
  if (length > MAX_NAME_BYTES) throw damaged('the name of its backing image is too long');
  return textOf(beforeNul(await read(Number(position), length)));
}

/** A name that is no UTF-8 would become another one. */
export function textOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) throw damaged('a name in its header is not UTF-8');
  return text;
}
