/**
 * What the header of an image says of its format and its backing image. It is read here: no program is started, which would open
 * what the image names (docs/interop/qcow2.txt and qed_spec.txt of QEMU, block/qcow.c).
 */

import type { FileHandle } from 'node:fs/promises';
import { readAt } from '../../files/open-image.ts';
import { damaged, type ReadAt } from '../qemu/qcow2-header.ts';
import { type ImageHeader, readName } from './header-fields.ts';
import { readQcow2Images } from './qcow2-images.ts';
import { readVmdkImages } from './vmdk-images.ts';

/** How many bytes QEMU looks at (BLOCK_PROBE_BUF_SIZE), and more than most headers have. */
const PROBED_BYTES = 512;
const AHEAD_BYTES = 4096;
/** Features of qed images. */
const QED = { backing: 1n, rawBacking: 4n } as const;

/** The formats' own bdrv_probe: the first that matches. What none of them knows is raw. */
const PROBES: readonly (readonly [format: string, matches: (bytes: Buffer) => boolean])[] = [
  ['qcow2', (bytes) => has(bytes, 'QFI\xfb') && bytes.readUInt32BE(4) >= 2],
  ['qcow', (bytes) => has(bytes, 'QFI\xfb') && bytes.readUInt32BE(4) === 1],
  ['qed', (bytes) => has(bytes, 'QED\0')],
  ['vmdk', (bytes) => has(bytes, 'KDMV') || has(bytes, 'COWD') || VMDK_TEXT.test(bytes.toString('latin1'))],
  ['vdi', (bytes) => bytes.readUInt32LE(0x40) === 0xbeda107f],
  ['vpc', (bytes) => has(bytes, 'conectix')],
  ['vhdx', (bytes) => has(bytes, 'vhdxfile')],
  ['parallels', (bytes) => has(bytes, 'WithoutFreeSpace') || has(bytes, 'WithouFreSpacExt')],
  ['luks', (bytes) => has(bytes, 'LUKS\xba\xbe') && bytes.readUInt16BE(6) === 1],
  ['bochs', (bytes) => has(bytes, 'Bochs Virtual HD Image')],
  ['cloop', (bytes) => has(bytes, '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0')],
];
/** Comments and empty lines, then the version. */
const VMDK_TEXT = /^(?:#[^\n]*\n| +\r?\n)*version=[123]\r?\n/;

/** `format` as it is known to QEMU; undefined: QEMU's own guess from the contents. Throws what is wrong with the image. */
export async function readHeader(path: string, file: FileHandle, format: string | undefined): Promise<ImageHeader> {
  if (format === 'raw') return { format, dataFiles: [] };
  const read = await readingAhead(file);
  const known = format ?? probe(await read(0, PROBED_BYTES));
  switch (known) {
    case 'qcow2':
      return await readQcow2Images(read);
    case 'qcow':
      return { format: known, dataFiles: [], ...(await qcowBacking(read)) };
    case 'qed':
      return { format: known, dataFiles: [], ...(await qedBacking(read)) };
    case 'vmdk':
      return { format: known, ...(await readVmdkImages(path, read)) };
    default:
      // None of the others has a backing image in QEMU.
      return { format: known, dataFiles: [] };
  }
}

function probe(bytes: Buffer): string {
  return PROBES.find(([, matches]) => matches(bytes))?.[0] ?? 'raw';
}

function has(bytes: Buffer, magic: string): boolean {
  return bytes.subarray(0, magic.length).equals(Buffer.from(magic, 'latin1'));
}

async function qcowBacking(read: ReadAt): Promise<Pick<ImageHeader, 'backing'>> {
  const header = await read(0, 48);
  if (!has(header, 'QFI\xfb') || header.readUInt32BE(4) !== 1) throw damaged('Image not in qcow format');
  const position = header.readBigUInt64BE(8);
  if (position === 0n) return {};
  const name = await readName(read, position, header.readUInt32BE(16));
  return name === '' ? {} : { backing: { name } };
}

async function qedBacking(read: ReadAt): Promise<Pick<ImageHeader, 'backing'>> {
  const header = await read(0, 64);
  if (!has(header, 'QED\0')) throw damaged('Image not in QED format');
  const features = header.readBigUInt64LE(16);
  if (!(features & QED.backing)) return {};
  const name = await readName(read, BigInt(header.readUInt32LE(56)), header.readUInt32LE(60));
  return name === '' ? {} : { backing: { name, ...(features & QED.rawBacking && { format: 'raw' }) } };
}

/** The beginning of the file is read once. */
async function readingAhead(file: FileHandle): Promise<ReadAt> {
  const ahead = await readAt(file, 0, AHEAD_BYTES);
  return async (position, bytes) =>
    position + bytes <= AHEAD_BYTES ? ahead.subarray(position, position + bytes) : await readAt(file, position, bytes);
}
