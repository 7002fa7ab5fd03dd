/**
 * The reasons that keep QEMU from putting an internal snapshot back into a qcow2 image, though the image can be read: seen in the
 * image's header (docs/interop/qcow2.txt of QEMU), so that it is known before a guest ends. bdrv_snapshot_goto and
 * qcow2_snapshot_goto are the ones that would refuse.
 */

import type { FileHandle } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { openImage, readAt } from './open-image.ts';
import type { L1Table, TableSnapshot } from './qcow2-table.ts';

/** Offsets in the header; those of the second line are of version 3. */
const HEADER = {
  ...{ bytes: 104, version: 4, clusterBits: 20, crypt: 32, l1Entries: 36, l1Table: 40 },
  ...{ incompatible: 72, autoclear: 88, length: 100 },
} as const;
const LENGTH_OF_VERSION_2 = 72;

/** Bits of incompatible_features. QEMU repairs a dirty image by itself when it opens it for writing. */
const INCOMPATIBLE = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
};
const KNOWN = Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit);

/** The offset of an L2 table in an entry of an L1 table. */
const L2_OFFSET = 0x00ff_ffff_ffff_fe00n;
/** QCOW_MAX_L1_SIZE */
const MAX_L1_BYTES = 32 << 20;

/** Header extension of persistent dirty bitmaps; it counts if this bit of autoclear_features is set. */
const BITMAPS = 0x23852875;
const AUTOCLEAR_BITMAPS = 1n << 0n;
const BITMAPS_EXTENSION_BYTES = 24;
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
    const header = await readAt(file, 0, HEADER.bytes);
    if (header.readUInt32BE(HEADER.crypt) !== 0) return `image '${path}' is encrypted: xlsnap has no secret to open it`;
    const active = { offset: header.readBigUInt64BE(HEADER.l1Table), entries: header.readUInt32BE(HEADER.l1Entries) };
    const clusterBytes = 1n << BigInt(header.readUInt32BE(HEADER.clusterBits));
    for (const table of [active, ...(snapshot ? [snapshot.l1] : [])]) {
      if (await isWhole(file, table, clusterBytes)) continue;
      return `image '${path}' is damaged or was cut short: a table of ${table === active ? 'the disk' : `snapshot '${snapshot?.name}'`} is not in the file`;
    }
    return header.readUInt32BE(HEADER.version) < 3 ? undefined : await featureRefusal(file, path, header);
  } catch (error) {
    throw error instanceof LibvirtError ? error : systemError(error, `cannot read image '${path}'`);
  }
}

async function featureRefusal(file: FileHandle, path: string, header: Buffer): Promise<string | undefined> {
  const features = header.readBigUInt64BE(HEADER.incompatible);
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
async function bitmapsOf(file: FileHandle, header: Buffer): Promise<readonly string[]> {
  if (!(header.readBigUInt64BE(HEADER.autoclear) & AUTOCLEAR_BITMAPS)) return [];
  const extension = await findExtension(file, header.readUInt32BE(HEADER.length) || LENGTH_OF_VERSION_2);
  if (!extension) return [];
  const count = extension.readUInt32BE(0);
  const bytes = Number(extension.readBigUInt64BE(8));
  if (bytes > MAX_DIRECTORY_BYTES) return ['?'];
  const directory = await readAt(file, Number(extension.readBigUInt64BE(16)), bytes);
  const names: string[] = [];
  for (let at = 0; names.length < count && at + BITMAP.bytes <= bytes; ) {
    const from = at + BITMAP.bytes + directory.readUInt32BE(at + BITMAP.extraSize);
    const end = from + directory.readUInt16BE(at + BITMAP.nameSize);
    names.push(directory.toString('utf8', from, end));
    at = Math.ceil(end / BITMAP.align) * BITMAP.align;
  }
  return names;
}

/** The data of the bitmaps' header extension. */
async function findExtension(file: FileHandle, start: number): Promise<Buffer | undefined> {
  // The extensions end with one of type 0, at the latest where the first cluster does.
  const bytes = await readAt(file, start, 65_536);
  for (let at = 0; at + 8 + BITMAPS_EXTENSION_BYTES <= bytes.length; ) {
    const type = bytes.readUInt32BE(at);
    if (type === 0) return undefined;
    if (type === BITMAPS) return bytes.subarray(at + 8, at + 8 + BITMAPS_EXTENSION_BYTES);
    at += 8 + Math.ceil(bytes.readUInt32BE(at + 4) / 8) * 8;
  }
  return undefined;
}
