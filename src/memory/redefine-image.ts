/** Gives a memory image another definition, also one that is longer than the image has room for. */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { isLibvirtError, LibvirtError, systemError } from '../errors.ts';
import { MadeFile, removeSame } from '../files/made-file.ts';
import { openImage, readInto } from '../files/open-image.ts';
import { idOf, requireSame } from '../files/same-file.ts';
import { partialOf } from '../model/phases.ts';
import { headerWith, type MemoryImage, putDomainXml, readOpenImage } from './image-file.ts';
import { SparseWriter } from './sparse-file.ts';

const CHUNK_BYTES = 1024 * 1024;

/**
 * Replaces the definition, durably: in place if it fits; else in a copy, which takes the image's place when it is whole. libvirtd
 * leaves no room in its images. Refuses (OPERATION_FAILED) what is not an image, and another file in the way of the copy.
 */
export async function redefineImage(path: string, domainXml: string): Promise<void> {
  try {
    await using file = await openImage(path, constants.O_RDWR);
    const image = await readOpenImage(file, path);
    const inPlace = Buffer.byteLength(domainXml) < image.streamOffset - image.xmlOffset;
    // A block device has one size and one name.
    if (inPlace || !(await file.stat()).isFile()) {
      await putDomainXml(file, image, domainXml);
      await file.sync();
    } else await replaceByCopy(file, image, domainXml);
  } catch (error) {
    throw isLibvirtError(error) ? error : systemError(error, `cannot change memory image '${path}'`);
  }
}

async function replaceByCopy(file: FileHandle, image: MemoryImage, domainXml: string): Promise<void> {
  const { path } = image;
  const stat = await file.stat({ bigint: true });
  await using copy = await MadeFile.create(partialOf(path)).catch((error) => {
    throw error.code === 'EEXIST' ? inTheWay(path) : error;
  });
  try {
    await copy.handle.writeFile(await headerWith(file, domainXml));
    await copyStream(file, image, copy.handle);
    await copy.handle.chown(Number(stat.uid), Number(stat.gid));
    await copy.handle.chmod(Number(stat.mode & 0o777n));
    await copy.handle.sync();
    await requireSame({ path, id: idOf(stat) });
    await copy.rename(path);
  } catch (error) {
    await removeSame(copy.at);
    throw error;
  }
}

async function copyStream(from: FileHandle, { path, streamOffset, bytes }: MemoryImage, to: FileHandle): Promise<void> {
  const writer = new SparseWriter(to.fd, (await to.stat()).size);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = streamOffset; at < bytes; ) {
    const read = await readInto(chunk, 0, from, at);
    if (read === 0) throw new LibvirtError('OPERATION_FAILED', `memory image '${path}' has become shorter`);
    await writer.append(chunk.subarray(0, read));
    at += read;
  }
  await writer.end();
}

function inTheWay(path: string): LibvirtError {
  const text =
    `the definition needs more room than memory image '${path}' has, and a copy cannot be made: '${partialOf(path)}' is there; ` +
    'remove it if no save or change of this image is under way';
  return new LibvirtError('OPERATION_FAILED', text);
}
