/**
 * The reasons that keep QEMU from putting an internal snapshot back into a qcow2 image, though the image can be read: seen in the
 * image's header (docs/interop/qcow2.txt of QEMU), so that it is known before a guest ends. bdrv_snapshot_goto and
 * qcow2_snapshot_goto are the ones that would refuse.
 */

import type { FileHandle } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { openImage, readAt } from './open-image.ts';
import {
  AUTOCLEAR_BITMAPS,
  EXTENSION,
  INCOMPATIBLE,
  type L1Table,
  type Qcow2Header,
  readExtensions,
  readerOf,
  readQcow2Header,
} from './qcow2-header.ts';
import type { TableSnapshot } from './qcow2-table.ts';

const KNOWN = Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit);

/** The offset of an L2 table in an entry of an L1 table. */
const L2_OFFSET = 0x00ff_ffff_ffff_fe00n;
/** QCOW_MAX_L1_SIZE */
const MAX_L1_BYTES = 32 << 20;

/** Of the data of the bitmaps' header extension: the number of bitmaps, bytes and offset of their directory. */
const BITMAPS = { bytes: 24, count: 0, directoryBytes: 8, directory: 16 } as const;
/** Of an entry of the bitmap directory, before its extra data and its name; entries begin at multiples of 8. */
const BITMAP = { bytes: 24, nameSize: 18, extraSize: 20, align: 8 } as const;
/** QCOW2_MAX_BITMAP_DIRECTORY_SIZE: QEMU opens no image that has a larger one. */
const MAX_DIRECTORY_BYTES = 65_535 * 1024;

/**
 * Returns why QEMU would refuse to revert the image to the snapshot, or to any if none is given, with the way out; undefined
 * if nothing says so. Works while the image is in use.
 */
export async function revertRefusal(path: string, snapshot?: TableSnapshot): Promise<string | undefined> {
  try {
    await using file = await openImage(path);
    const header = await readQcow2Header(readerOf(file));
    if (header.encrypted) return `image '${path}' is encrypted: xlsnap has no secret to open it`;
    for (const table of [header.l1, ...(snapshot ? [snapshot.l1] : [])]) {
      if (await isWhole(file, table, BigInt(header.clusterBytes))) continue;
      return `image '${path}' is damaged or was cut short: a table of ${table === header.l1 ? 'the disk' : `snapshot '${snapshot?.name}'`} is not in the file`;
    }
    return await featureRefusal(file, path, header);
  } catch (error) {
    const failure = `cannot read image '${path}'`;
    if (!(error instanceof LibvirtError)) throw systemError(error, failure);
    throw new LibvirtError(error.code, `${failure}: ${error.detail}`, { cause: error });
  }
}

async function featureRefusal(file: FileHandle, path: string, header: Qcow2Header): Promise<string | undefined> {
  const { incompatible: features } = header;
  if (features & INCOMPATIBLE.corrupt) {
    const repair = shellCommand('qemu-img', 'check', '-r', 'all', path);
    return `image '${path}' is marked as corrupt; to repair it while no guest uses it: ${repair}`;
  }
  if (features & INCOMPATIBLE.dataFile)
    return `image '${path}' has its data in another file, which QEMU does not revert`;
  if (features & ~KNOWN) return `image '${path}' has features that are not known here (0x${features.toString(16)})`;
  const [bitmap] = await bitmapsOf(file, header);
  if (bitmap === undefined) return undefined;
  const removal = shellCommand('qemu-img', 'bitmap', '--remove', path, bitmap);
  return `image '${path}' has dirty bitmap '${bitmap}', and QEMU reverts no image that has one; to remove it while no guest uses the image: ${removal}`;
}

/** True if the table, and all L2 tables that it names, are in the file, at the boundaries of clusters. */
async function isWhole(file: FileHandle, { offset, entries }: L1Table, clusterBytes: bigint): Promise<boolean> {
  const bytes = entries * 8;
  const { size } = await file.stat({ bigint: true });
  // A block device has no size for stat.
  const end = size === 0n ? undefined : size;
  const isInFile = (at: bigint, length: bigint) =>
    at % clusterBytes === 0n && (end === undefined || at + length <= end);
  if (entries === 0) return true;
  if (bytes > MAX_L1_BYTES || !isInFile(offset, BigInt(bytes))) return false;
  const table = await readAt(file, Number(offset), bytes);
  for (let at = 0; at < bytes; at += 8) {
    const l2 = table.readBigUInt64BE(at) & L2_OFFSET;
    // QEMU may leave out the zeros at the end of the last cluster.
    if (l2 !== 0n && !isInFile(l2, 512n)) return false;
  }
  return true;
}

/** Names of the persistent dirty bitmaps. Bitmaps of an image that was changed by who does not know them are lost anyway. */
async function bitmapsOf(file: FileHandle, header: Qcow2Header): Promise<readonly string[]> {
  if (!(header.autoclear & AUTOCLEAR_BITMAPS)) return [];
  const extensions = await readExtensions(readerOf(file), header);
  const extension = extensions.find(({ type }) => type === EXTENSION.bitmaps);
  if (!extension) return [];
  const data = await readAt(file, extension.position, BITMAPS.bytes);
  const count = data.readUInt32BE(BITMAPS.count);
  const bytes = Number(data.readBigUInt64BE(BITMAPS.directoryBytes));
  if (bytes > MAX_DIRECTORY_BYTES) return ['?'];
  const directory = await readAt(file, Number(data.readBigUInt64BE(BITMAPS.directory)), bytes);
  const names: string[] = [];
  for (let at = 0; names.length < count && at + BITMAP.bytes <= bytes; ) {
    const from = at + BITMAP.bytes + directory.readUInt32BE(at + BITMAP.extraSize);
    const end = from + directory.readUInt16BE(at + BITMAP.nameSize);
    names.push(directory.toString('utf8', from, end));
    at = Math.ceil(end / BITMAP.align) * BITMAP.align;
  }
  return names;
}
