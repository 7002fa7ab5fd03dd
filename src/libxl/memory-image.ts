/**
 * The memory image: a file that libvirt's own libxl driver could have saved, so that `virsh restore` takes it.
 * Layout (struct libxlSavefileHeader in libvirt's libxl_domain.h, host byte order): 16 bytes of magic, version,
 * xmlLen, 40 unused bytes, xmlLen bytes of domain XML, then the hypervisor's stream to the end of the file.
 */

import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { endianness } from 'node:os';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';

const MAGIC = Buffer.from('libvirt-xml\n \0 \r', 'latin1');
const VERSION = 2;
const VERSION_AT = 16;
const XML_LENGTH_AT = 20;
const HEADER_BYTES = 64;

/** The XML is padded with NULs inside xmlLen to this boundary, so that it can be edited in place before the stream. */
const XML_BOUNDARY_BYTES = 64 * 1024;

/** Longer definitions do not exist; a length beyond it is a damaged header, not something to allocate. */
const MAX_XML_BYTES = 16 * 1024 * 1024;

/** libxl's migration v2 stream (libxl_sr_stream_format.h, big endian): ident, version, options; the last record is END. */
const LIBXL_STREAM_IDENT = Buffer.from('LibxlFmt\0\0\0\x02', 'latin1');
const LIBXL_STREAM_END = Buffer.alloc(8);

/** A finished image whose header has been read and found right. */
export interface MemoryImage {
  readonly path: string;
  readonly domainXml: string;
  /** Where the hypervisor's stream begins. */
  readonly streamOffset: number;
  /** Size of the whole file. */
  readonly bytes: number;
}

/** The header and the XML as they stand in front of the stream. */
export function encodeMemoryImageHeader(domainXml: string): Buffer {
  const xml = Buffer.from(domainXml, 'utf8');
  const xmlLength = Math.ceil((xml.length + 1) / XML_BOUNDARY_BYTES) * XML_BOUNDARY_BYTES;
  const header = Buffer.alloc(HEADER_BYTES + xmlLength);
  MAGIC.copy(header);
  writeHostUInt32(header, VERSION, VERSION_AT);
  writeHostUInt32(header, xmlLength, XML_LENGTH_AT);
  xml.copy(header, HEADER_BYTES);
  return header;
}

/** An image being written, as `<path>.partial` until it is finished: a name without `.partial` is a whole image. */
export class PartialMemoryImage {
  readonly path: string;
  readonly partialPath: string;
  readonly streamOffset: number;
  /** The name it has now. */
  #file: string;

  private constructor(path: string, streamOffset: number) {
    this.path = path;
    this.partialPath = `${path}.partial`;
    this.streamOffset = streamOffset;
    this.#file = this.partialPath;
  }

  /** Writes the header. The stream is then appended to `partialPath` by whoever has it. */
  static async create(path: string, domainXml: string): Promise<PartialMemoryImage> {
    const header = encodeMemoryImageHeader(domainXml);
    const image = new PartialMemoryImage(path, header.length);
    try {
      await using file = await open(image.partialPath, 'w', 0o600);
      await file.chmod(0o600);
      await file.writeFile(header);
    } catch (error) {
      await image.discard().catch(() => undefined);
      throw systemError(error, `Failed to create domain save file '${path}'`);
    }
    return image;
  }

  /** Makes the image durable under its own name and returns its size. */
  async finish(): Promise<number> {
    try {
      await using file = await open(this.partialPath, 'r+');
      await file.sync();
      const { size } = await file.stat();
      await rename(this.partialPath, this.path);
      this.#file = this.path;
      await using folder = await open(dirname(this.path), 'r');
      await folder.sync();
      return size;
    } catch (error) {
      throw systemError(error, `Failed to finish domain save file '${this.path}'`);
    }
  }

  /** Removes what has been written, under the name it has by now. */
  async discard(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}

/** Reads and checks the header, with libvirt's refusals. Says nothing of the stream: that is the hypervisor's. */
export async function readMemoryImage(path: string): Promise<MemoryImage> {
  await using file = await openImage(path);
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
    streamOffset: HEADER_BYTES + xmlLength,
    bytes: size,
  };
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

async function openImage(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw systemError(error, `Failed to open domain image file '${path}'`);
  }
}

/** Up to `length` bytes at `position`; fewer only at the end of the file. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled).catch((error) => {
      throw systemError(error, 'cannot read memory image');
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
