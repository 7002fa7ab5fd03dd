/**
 * The reasons that keep QEMU from putting an internal snapshot back into a qcow2 image, though the image can be read: seen in the
 * image's header (docs/interop/qcow2.txt of QEMU), so that it is known before a guest ends. bdrv_snapshot_goto and
 * qcow2_snapshot_goto are the ones that would refuse.
 */

import type { FileHandle } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import { openImage, readAt } from '../../files/open-image.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import {
  AUTOCLEAR_BITMAPS,
  damaged,
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

/** The offset of a table or a cluster in an entry of an L1, a refcount or an L2 table. */
const OFFSET = 0x00ff_ffff_ffff_fe00n;
/** In an entry of an L2 table: the cluster is compressed, and need not begin at a cluster's boundary. */
const COMPRESSED = 1n << 62n;
/** QCOW_MAX_L1_SIZE */
const MAX_L1_BYTES = 32 << 20;
/** QCOW_MAX_REFTABLE_SIZE */
const MAX_REFCOUNT_TABLE_BYTES = 8 << 20;
/** Of a table, in one turn of the event loop. */
const SLICE_BYTES = 128 << 10;
/** Of a snapshot's L2 tables, so many bytes are read, the table of 512 GiB with clusters of 64 KiB. */
const MAX_L2_BYTES = 64 << 20;

/** Of the data of the bitmaps' header extension: the number of bitmaps, and the offset of their directory. */
const BITMAPS = { bytes: 24, count: 0, directory: 16 } as const;
/** Of an entry of the bitmap directory, before its extra data and its name. */
const BITMAP = { bytes: 24, nameSize: 18, extraSize: 20 } as const;

/**
 * Returns why QEMU would refuse to revert the image to the snapshot, or to any if none is given, with the way out; undefined
 * if nothing says so. Works while the image is in use.
 */
export async function revertRefusal(path: string, snapshot?: TableSnapshot): Promise<string | undefined> {
  return await refusalOf(path, async (file, header) => {
    if (header.encrypted) return encrypted(path);
    const damage = await damageOf(file, header, snapshot);
    if (damage !== undefined) return cutShort(path, damage);
    return featureRefusal(path, header) ?? dataFileRefusal(path, header) ?? (await bitmapRefusal(file, path, header));
  });
}

/**
 * Returns why QEMU would not open the image for changes, or would stop in the middle of them since its tables are not whole, with
 * the way out; undefined if nothing says so.
 */
export async function openRefusal(path: string): Promise<string | undefined> {
  return await refusalOf(path, async (file, header) => {
    if (header.encrypted) return encrypted(path);
    const damage = await damageOf(file, header);
    return damage === undefined ? featureRefusal(path, header) : cutShort(path, damage);
  });
}

const encrypted = (path: string): string => `image '${path}' is encrypted: xlsnap has no secret to open it`;
const cutShort = (path: string, damage: string): string => `image '${path}' is damaged or was cut short: ${damage}`;

async function refusalOf(
  path: string,
  look: (file: FileHandle, header: Qcow2Header) => Promise<string | undefined>,
): Promise<string | undefined> {
  try {
    await using file = await openImage(path);
    return await look(file, await readQcow2Header(readerOf(file)));
  } catch (error) {
    const failure = `cannot read image '${path}'`;
    if (!(error instanceof LibvirtError)) throw systemError(error, failure);
    throw new LibvirtError(error.code, `${failure}: ${error.detail}`, { cause: error });
  }
}

function featureRefusal(path: string, { incompatible: features }: Qcow2Header): string | undefined {
  if (features & INCOMPATIBLE.corrupt) {
    const repair = shellCommand('qemu-img', 'check', '-r', 'all', path);
    return `image '${path}' is marked as corrupt; to repair it while no guest uses it: ${repair}`;
  }
  if (features & ~KNOWN) return `image '${path}' has features that are not known here (0x${features.toString(16)})`;
  return undefined;
}

function dataFileRefusal(path: string, { incompatible }: Qcow2Header): string | undefined {
  if (!(incompatible & INCOMPATIBLE.dataFile)) return undefined;
  return `image '${path}' has its data in another file, which QEMU does not revert`;
}

async function bitmapRefusal(file: FileHandle, path: string, header: Qcow2Header): Promise<string | undefined> {
  const bitmap = await firstBitmap(file, header);
  if (bitmap === undefined) return undefined;
  const removal = shellCommand('qemu-img', 'bitmap', '--remove', path, bitmap);
  return `image '${path}' has dirty bitmap '${bitmap}', and QEMU reverts no image that has one; to remove it while no guest uses the image: ${removal}`;
}

/** The damage for which QEMU would stop in the middle of a revert, in the tables that it goes through then; for a message. */
async function damageOf(file: FileHandle, header: Qcow2Header, snapshot?: TableSnapshot): Promise<string | undefined> {
  const { size } = await file.stat({ bigint: true });
  // A block device has no size for stat.
  const image = { file, clusterBytes: BigInt(header.clusterBytes), ...(size > 0n && { end: size }) };
  const lost = (whose: string) => `a table of ${whose} is not in the file`;
  if (!(await isWhole(image, header.l1, MAX_L1_BYTES))) return lost('the disk');
  if (!(await isWhole(image, header.refcounts, MAX_REFCOUNT_TABLE_BYTES))) return lost('its refcounts');
  if (!snapshot) return undefined;
  if (!(await isWhole(image, snapshot.l1, MAX_L1_BYTES))) return lost(`snapshot '${snapshot.name}'`);
  const entryBytes = header.incompatible & INCOMPATIBLE.extendedL2 ? 16 : 8;
  if (await hasAlignedClusters(image, snapshot.l1, entryBytes)) return undefined;
  return `a cluster of snapshot '${snapshot.name}' is not at a cluster's place`;
}

/** An open image; `end` is absent if its size is not known. */
interface OpenImage {
  readonly file: FileHandle;
  readonly clusterBytes: bigint;
  readonly end?: bigint;
}

/** True if the table, and all tables that it names, are in the file, at the boundaries of clusters. */
async function isWhole({ file, clusterBytes, end }: OpenImage, table: L1Table, maxBytes: number): Promise<boolean> {
  const bytes = table.entries * 8;
  const isInFile = (at: bigint, length: bigint) =>
    at % clusterBytes === 0n && (end === undefined || at + length <= end);
  if (bytes === 0) return true;
  if (bytes > maxBytes || !isInFile(table.offset, BigInt(bytes))) return false;
  for await (const slice of slicesOf(file, table)) {
    // QEMU may leave out the zeros at the end of the last cluster.
    if (tablesIn(slice).some((named) => !isInFile(named, 512n))) return false;
  }
  return true;
}

/** Looks at the clusters that a snapshot's L2 tables name. These tables do not change while it exists. */
async function hasAlignedClusters(
  { file, clusterBytes }: OpenImage,
  l1: L1Table,
  entryBytes: number,
): Promise<boolean> {
  const entries = Number(clusterBytes) / 8;
  let left = MAX_L2_BYTES / Number(clusterBytes);
  for await (const slice of slicesOf(file, l1)) {
    for (const offset of tablesIn(slice)) {
      left -= 1;
      if (left < 0) return true;
      for await (const l2 of slicesOf(file, { offset, entries })) {
        if (!isAligned(l2, entryBytes, clusterBytes)) return false;
      }
    }
  }
  return true;
}

/** Of an extended entry the second half says which parts of the cluster it has. */
function isAligned(l2: Buffer, entryBytes: number, clusterBytes: bigint): boolean {
  for (let at = 0; at < l2.length; at += entryBytes) {
    const entry = l2.readBigUInt64BE(at);
    if (!(entry & COMPRESSED) && (entry & OFFSET) % clusterBytes !== 0n) return false;
  }
  return true;
}

/** The tables that entries of an L1 or refcount table name. */
function tablesIn(slice: Buffer): readonly bigint[] {
  const found: bigint[] = [];
  for (let at = 0; at < slice.length; at += 8) {
    const offset = slice.readBigUInt64BE(at) & OFFSET;
    if (offset !== 0n) found.push(offset);
  }
  return found;
}

/** Reads a table in parts: others have their turns in between. */
async function* slicesOf(file: FileHandle, { offset, entries }: L1Table): AsyncGenerator<Buffer> {
  for (let from = 0; from < entries * 8; from += SLICE_BYTES) {
    yield await readAt(file, Number(offset) + from, Math.min(SLICE_BYTES, entries * 8 - from));
  }
}

/** The name of the first persistent dirty bitmap. Bitmaps of an image that was changed by who does not know them are lost anyway. */
async function firstBitmap(file: FileHandle, header: Qcow2Header): Promise<string | undefined> {
  if (!(header.autoclear & AUTOCLEAR_BITMAPS)) return undefined;
  const extensions = await readExtensions(readerOf(file), header);
  const extension = extensions.find(({ type }) => type === EXTENSION.bitmaps);
  if (!extension) return undefined;
  const data = await readAt(file, extension.position, BITMAPS.bytes);
  // QEMU does not open such an image, in these words.
  if (data.readUInt32BE(BITMAPS.count) === 0) throw damaged('found bitmaps extension with zero bitmaps');
  const directory = Number(data.readBigUInt64BE(BITMAPS.directory));
  const bitmap = await readAt(file, directory, BITMAP.bytes);
  const extra = bitmap.readUInt32BE(BITMAP.extraSize);
  const name = await readAt(file, directory + BITMAP.bytes + extra, bitmap.readUInt16BE(BITMAP.nameSize));
  return name.toString();
}
