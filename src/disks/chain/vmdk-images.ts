/**
 * Which other files a vmdk image names: in its descriptor, which is a text (block/vmdk.c of QEMU). Read here, because qemu-img would
 * open all of them, whatever they are: a pipe, a device of root's, a server.
 */

import { dirname, join } from 'node:path';
import { beforeNul } from '../../model/utf8.ts';
import { damaged, type ReadAt } from '../qemu/qcow2-header.ts';
import { type ImageHeader, textOf } from './header-fields.ts';

const SECTOR = 512;
/** vmdk_read_desc reads so much, vmdk_parent_open its first 20 sectors. */
const DESCRIPTOR_BYTES = 1 << 20;
const PARENT_BYTES = 20 * SECTOR;
/** Of VMDK4Header, which begins with `KDMV`; without a capacity the image is but a descriptor. */
const AT = { capacity: 12, descriptor: 28 } as const;
/** Where the descriptor of an image with data of its own is. */
const OWN_DESCRIPTOR = SECTOR;
const EXTENTS_MAX = 1_024;

/** An extent that QEMU opens: `RW 4192256 SPARSE "disk-s001.vmdk"`. */
const EXTENT = /^\s*RW\s+[-+]?\d+\s+\S+\s+"([^"\r\n]*)"/gm;
const PARENT = /parentFileNameHint="([^"]*)"/;
/** path_has_protocol, and an absolute path. */
const COMPLETE = /^(\/|[^/]*:)/;

/** `path`: extents are beside the descriptor. QEMU probes the format of the backing image. */
export async function readVmdkImages(path: string, read: ReadAt): Promise<Pick<ImageHeader, 'backing' | 'dataFiles'>> {
  const header = await read(0, SECTOR);
  const isSparse = ['KDMV', 'COWD'].includes(header.toString('latin1', 0, 4));
  const parent = PARENT.exec(await descriptor(read, isSparse ? OWN_DESCRIPTOR : 0, PARENT_BYTES))?.[1];
  const files = await extents(read, header, isSparse);
  if (files.length > EXTENTS_MAX) throw damaged(`it has more than ${EXTENTS_MAX} extents`);
  return {
    ...(parent && { backing: { name: nameOf(parent) } }),
    dataFiles: files.map(nameOf).map((name) => (COMPLETE.test(name) ? name : join(dirname(path), name))),
  };
}

async function extents(read: ReadAt, header: Buffer, isSparse: boolean): Promise<readonly string[]> {
  const isDescriptor = header.toString('latin1', 0, 4) === 'KDMV' && header.readBigUInt64LE(AT.capacity) === 0n;
  if (isSparse && !isDescriptor) return [];
  const place = isSparse ? Number(header.readBigUInt64LE(AT.descriptor)) * SECTOR : 0;
  const text = await descriptor(read, place, DESCRIPTOR_BYTES);
  return [...text.matchAll(EXTENT)].map(([, name = '']) => name);
}

/** Each byte is a character. Ends at the first NUL, as in C. */
async function descriptor(read: ReadAt, place: number, bytes: number): Promise<string> {
  return beforeNul(await read(place, bytes)).toString('latin1');
}

const nameOf = (characters: string): string => textOf(Buffer.from(characters, 'latin1'));
