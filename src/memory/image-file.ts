/**
 * The memory image: a file that libvirt's own libxl driver could have saved, so that `virsh restore` takes it.
 * Layout (struct libxlSavefileHeader in libvirt's libxl_domain.h, host byte order): 16 bytes of magic, version,
 * xmlLen, 40 bytes that libvirt neither writes nor reads (the tie to the disks is there, see tie.ts), xmlLen
 * bytes of domain XML, then the hypervisor's stream to the end of the file.
 */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { endianness } from 'node:os';
import { isLibvirtError, LibvirtError, systemError } from '../errors.ts';
import { openImage as openFile, readInto } from '../files/open-image.ts';
import { FOREIGN_SAVE_MAGICS, XEN_SAVE_MAGIC } from '../files/saved-domain.ts';

const MAGIC = Buffer.from(XEN_SAVE_MAGIC, 'latin1');
const VERSION = 2;
const VERSION_AT = 16;
const XML_LENGTH_AT = 20;
const TIE_AT = 24;
const HEADER_BYTES = 64;

/** The magic before a tie in the unused bytes; its last character is the tie's version. Zeros there mean that the image has no tie. */
const TIE_MARK = Buffer.from('tie1', 'latin1');
const ANY_TIE = 'tie';
const TIE_BYTES = 32;

/**
 * The XML is padded with NULs inside xmlLen, so that it can be edited in place before the stream: to a boundary, with
 * at least this much to spare (disks of a long chain, longer paths).
 */
const XML_BOUNDARY_BYTES = 64 * 1024;
const XML_SPARE_BYTES = 16 * 1024;

/** Longer definitions do not exist; a length beyond it is a damaged header, not something to allocate. */
const MAX_XML_BYTES = 16 * 1024 * 1024;

/**
 * libxl's migration v2 stream (libxl_sr_stream_format.h, big endian): ident, version, options; the last record is END.
 */
const LIBXL_STREAM_IDENT = Buffer.from('LibxlFmt\0\0\0\x02', 'latin1');
const LIBXL_STREAM_END = Buffer.alloc(8);

/** A finished image whose header has been read and checked. */
export interface MemoryImage {
  readonly path: string;
  readonly domainXml: string;
  /** Offset of the definition. */
  readonly xmlOffset: number;
  /** Offset of the hypervisor's stream. */
  readonly streamOffset: number;
  /** Size of the whole file. */
  readonly bytes: number;
}

/** The header and the XML, as bytes before the stream. */
export function encodeMemoryImageHeader(domainXml: string): Buffer {
  const xml = Buffer.from(domainXml, 'utf8');
  const xmlLength = Math.ceil((xml.length + 1 + XML_SPARE_BYTES) / XML_BOUNDARY_BYTES) * XML_BOUNDARY_BYTES;
  const header = Buffer.alloc(HEADER_BYTES + xmlLength);
  MAGIC.copy(header);
  writeHostUInt32(header, VERSION, VERSION_AT);
  writeHostUInt32(header, xmlLength, XML_LENGTH_AT);
  xml.copy(header, HEADER_BYTES);
  return header;
}

/** True for a saved domain of libvirt's test or qemu driver. Those formats are private to them. */
export async function isForeignImage(path: string): Promise<boolean> {
  await using file = await openImage(path);
  const beginning = (await readAt(file, 0, MAGIC.length)).toString('latin1');
  return FOREIGN_SAVE_MAGICS.some((magic) => beginning.startsWith(magic));
}

/** Reads and checks the header, with libvirt's refusals. Does not check the stream, which is the hypervisor's. */
export async function readMemoryImage(path: string): Promise<MemoryImage> {
  await using file = await openImage(path);
  return await readOpenImage(file, path);
}

/** The same for an image that is open. */
export async function readOpenImage(file: FileHandle, path: string): Promise<MemoryImage> {
  const { size } = await file.stat();
  const header = await readAt(file, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES) throw new LibvirtError('OPERATION_FAILED', `failed to read libxl header: ${path}`);
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new LibvirtError('INVALID_ARG', `image magic is incorrect: ${path}`);
  }
  const version = readHostUInt32(header, VERSION_AT);
  if (version > VERSION) {
    throw new LibvirtError('OPERATION_FAILED', `image version is not supported (${version} > ${VERSION}): ${path}`);
  }
  const xmlLength = readHostUInt32(header, XML_LENGTH_AT);
  if (xmlLength === 0 || xmlLength > MAX_XML_BYTES) {
    throw new LibvirtError('OPERATION_FAILED', `invalid XML length: ${xmlLength}: ${path}`);
  }
  const xml = await readAt(file, HEADER_BYTES, xmlLength);
  if (xml.length < xmlLength) throw new LibvirtError('OPERATION_FAILED', `failed to read XML: ${path}`);
  const end = xml.indexOf(0);
  return {
    path,
    domainXml: xml.toString('utf8', 0, end < 0 ? xmlLength : end),
    xmlOffset: HEADER_BYTES,
    streamOffset: HEADER_BYTES + xmlLength,
    bytes: size,
  };
}

/** Refuses (OPERATION_FAILED) a definition that is longer than the image has room for in front of the stream. */
export function checkRoomFor({ path, streamOffset }: MemoryImage, domainXml: string): void {
  const room = streamOffset - HEADER_BYTES - 1;
  const bytes = Buffer.byteLength(domainXml);
  if (bytes <= room) return;
  const text = `the definition does not fit into memory image '${path}': it has ${bytes} bytes, and there is room for ${room}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** Replaces the definition in front of the stream, in place and durably. Refuses as checkRoomFor does. */
export async function rewriteDomainXml(path: string, domainXml: string): Promise<void> {
  await change(path, async (file) => await putDomainXml(file, await readOpenImage(file, path), domainXml));
}

/** The same for an image that is open; it is not synced. */
export async function putDomainXml(file: FileHandle, image: MemoryImage, domainXml: string): Promise<void> {
  checkRoomFor(image, domainXml);
  const xml = Buffer.alloc(image.streamOffset - HEADER_BYTES);
  xml.write(domainXml);
  await writeAt(file, HEADER_BYTES, xml);
}

/** A header for the same image with another definition, and room for it: with the tie that the image has. */
export async function headerWith(file: FileHandle, domainXml: string): Promise<Buffer> {
  const header = encodeMemoryImageHeader(domainXml);
  (await readAt(file, TIE_AT, HEADER_BYTES - TIE_AT)).copy(header, TIE_AT);
  return header;
}

/** Returns the tie of the image; undefined for an image that another program has written. Refuses another version's. */
export async function readTie(path: string): Promise<string | undefined> {
  await using file = await openImage(path);
  const unused = await readAt(file, TIE_AT, TIE_MARK.length + TIE_BYTES);
  if (unused.subarray(0, TIE_MARK.length).equals(TIE_MARK)) return unused.toString('hex', TIE_MARK.length);
  if (unused.toString('latin1', 0, ANY_TIE.length) !== ANY_TIE) return undefined;
  const text = `memory image '${path}' was tied to its disks by another version of xlsnap: use that one, or a newer one`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/**
 * Writes the tie (from tieOf) into the image: again after a change of the disks that has kept their contents. Durable.
 */
export async function writeTie(path: string, tie: string): Promise<void> {
  await readMemoryImage(path);
  await change(path, (file) => putTie(file, tie));
}

/** Refuses an image whose stream is not libxl's, is of another version, or was cut short. */
export async function checkLibxlStream(image: MemoryImage): Promise<void> {
  await using file = await openImage(image.path);
  const ident = await readAt(file, image.streamOffset, LIBXL_STREAM_IDENT.length);
  if (!ident.equals(LIBXL_STREAM_IDENT)) {
    const text = `no libxl stream of version 2 in memory image '${image.path}': libxl has not written it`;
    throw new LibvirtError('OPERATION_FAILED', text);
  }
  const end = await readAt(file, image.bytes - LIBXL_STREAM_END.length, LIBXL_STREAM_END.length);
  if (!end.equals(LIBXL_STREAM_END)) {
    const text = `the libxl stream in memory image '${image.path}' has no end: the file was cut off, a copy from a backup may be whole`;
    throw new LibvirtError('OPERATION_FAILED', text);
  }
}

/** Writes the tie (from tieOf) into an image that is open. */
export async function putTie(file: FileHandle, tie: string): Promise<void> {
  await writeAt(file, TIE_AT, Buffer.concat([TIE_MARK, Buffer.from(tie, 'hex')]));
}

async function writeAt(file: FileHandle, position: number, bytes: Buffer): Promise<void> {
  await file.write(bytes, 0, bytes.length, position);
}

async function change(path: string, edit: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await using file = await openFile(path, constants.O_RDWR);
    await edit(file);
    await file.sync();
  } catch (error) {
    throw isLibvirtError(error) ? error : systemError(error, `cannot change memory image '${path}'`);
  }
}

async function openImage(path: string): Promise<FileHandle> {
  try {
    return await openFile(path);
  } catch (error) {
    throw isLibvirtError(error) ? error : systemError(error, `Failed to open domain image file '${path}'`);
  }
}

/** Reads up to `length` bytes at `position`; fewer only at the end of the file. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const bytesRead = await readInto(buffer, filled, file, position + filled).catch((error) => {
      throw isLibvirtError(error) ? error : systemError(error, 'cannot read memory image');
    });
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function readHostUInt32(buffer: Buffer, offset: number): number {
  return endianness() === 'LE' ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset);
}

function writeHostUInt32(buffer: Buffer, value: number, offset: number): void {
  if (endianness() === 'LE') buffer.writeUInt32LE(value, offset);
  else buffer.writeUInt32BE(value, offset);
}
