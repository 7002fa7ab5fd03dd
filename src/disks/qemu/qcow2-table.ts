/**
 * The internal snapshots of a qcow2 image, read from its own table: starting qemu-img
 * for that would take most of the time for which a guest is paused (docs/interop/qcow2.txt of QEMU, "Snapshots").
 */

import type { FileHandle } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import { openImage, readAt } from '../../files/open-image.ts';
import { beforeNul, decodeUtf8 } from '../../model/utf8.ts';
import type { ImageSnapshot } from './image-info.ts';
import { damaged, isQcow2Header, type L1Table, type Qcow2Header, readerOf, readQcow2Header } from './qcow2-header.ts';

/** Of an entry, before its extra data, its id and its name; entries begin at multiples of 8. */
const ENTRY = {
  ...{ bytes: 40, align: 8, l1Table: 0, l1Entries: 8 },
  ...{ idLength: 12, nameLength: 14, dateSec: 16, dateNsec: 20, vmClock: 24, vmState: 32, extraLength: 36 },
} as const;
/**
 * QCOW_MAX_SNAPSHOTS, QCOW_MAX_SNAPSHOT_EXTRA_DATA, QCOW_MAX_SNAPSHOTS_SIZE (bytes): QEMU opens no image that has more.
 */
const LIMITS = { snapshots: 65_536, extra: 1024, table: 64 << 20 } as const;
/** Of most entries; with it, a table of few is not read far beyond its end. */
const USUAL_ENTRY_BYTES = 128;
/** Of a large table, read in one turn of the event loop. */
const SLICE_BYTES = 128 << 10;
const SECOND_NS = 1_000_000_000n;

/** An entry of an image's snapshot table. */
export interface TableSnapshot extends ImageSnapshot {
  /** The place of its clusters. */
  readonly l1: L1Table;
}

/**
 * True for a file that begins as a qcow2 image of a version that QEMU knows; false for any other, and for none. Rejects
 * for one that cannot be read.
 */
export async function isQcow2Image(path: string): Promise<boolean> {
  try {
    await using file = await openImage(path);
    return isQcow2Header(await readAt(file, 0, 8));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    if (error instanceof LibvirtError) throw error;
    throw systemError(error, `cannot read image '${path}'`);
  }
}

/**
 * As `qemu-img info -U` has them, in the order of the table; also while a device model has the image open. `failure`
 * begins the message of an error.
 */
export async function readSnapshotTable(path: string, failure: string): Promise<readonly TableSnapshot[]> {
  return await reading(path, failure, async (file, header) => {
    const { count, position } = header.snapshots;
    if (count > LIMITS.snapshots) throw damaged(`it claims to have ${count} internal snapshots`);
    const snapshots: TableSnapshot[] = [];
    const start = Number(position);
    const read = aheadReader(file, Math.min(count * USUAL_ENTRY_BYTES, SLICE_BYTES));
    let at = start;
    for (let n = 0; n < count; n += 1) {
      const { snapshot, end } = await readEntry(read, at);
      snapshots.push(snapshot);
      at = end;
      if (at - start > LIMITS.table) throw damaged('its table of internal snapshots is too big');
    }
    return snapshots;
  });
}

/** True for an image that has a backing image. */
export async function hasBackingImage(path: string): Promise<boolean> {
  return await reading(path, `cannot read image '${path}'`, async (_file, { backing }) => backing !== undefined);
}

async function reading<T>(
  path: string,
  failure: string,
  read: (file: FileHandle, header: Qcow2Header) => Promise<T>,
): Promise<T> {
  try {
    await using file = await openImage(path);
    return await read(file, await readQcow2Header(readerOf(file)));
  } catch (error) {
    if (error instanceof LibvirtError) throw new LibvirtError(error.code, `${failure}: ${error.detail}`);
    throw systemError(error, failure);
  }
}

/** Returns the bytes at a position of the file. */
type Read = (position: number, bytes: number) => Promise<Buffer>;

/** Reads so many bytes at once that entries which follow one another are there already; others have their turns in between. */
function aheadReader(file: FileHandle, ahead: number): Read {
  let slice: Buffer = Buffer.alloc(0);
  let start = 0;
  return async (position, bytes) => {
    if (position < start || position + bytes > start + slice.length) {
      slice = await readAt(file, position, Math.max(bytes, ahead));
      start = position;
    }
    return slice.subarray(position - start, position - start + bytes);
  };
}

async function readEntry(read: Read, at: number): Promise<{ readonly snapshot: TableSnapshot; readonly end: number }> {
  const entry = await read(at, ENTRY.bytes);
  const extraLength = entry.readUInt32BE(ENTRY.extraLength);
  const idLength = entry.readUInt16BE(ENTRY.idLength);
  const nameLength = entry.readUInt16BE(ENTRY.nameLength);
  // No snapshot is without an id.
  if (extraLength > LIMITS.extra || idLength === 0) throw damaged('its table of internal snapshots is damaged');
  const rest = await read(at + ENTRY.bytes, extraLength + idLength + nameLength);
  const id = textOf(rest.subarray(extraLength, extraLength + idLength));
  const name = textOf(rest.subarray(extraLength + idLength));
  const dateSec = entry.readUInt32BE(ENTRY.dateSec);
  const vmClock = entry.readBigUInt64BE(ENTRY.vmClock);
  const identity = [id, dateSec, entry.readUInt32BE(ENTRY.dateNsec), vmClock / SECOND_NS, vmClock % SECOND_NS].join(
    ' ',
  );
  // The extra data begins with a wider field for the same size.
  const vmStateBytes = extraLength >= 8 ? Number(rest.readBigUInt64BE(0)) : entry.readUInt32BE(ENTRY.vmState);
  const length = ENTRY.bytes + rest.length;
  const l1 = { offset: entry.readBigUInt64BE(ENTRY.l1Table), entries: entry.readUInt32BE(ENTRY.l1Entries) };
  return {
    snapshot: { id, name, vmStateBytes, creationTime: dateSec, identity, l1 },
    end: at + Math.ceil(length / ENTRY.align) * ENTRY.align,
  };
}

/** As QEMU, in C, sees it: up to the first NUL. Bytes that are not UTF-8 stay what they are. */
function textOf(bytes: Buffer): string {
  return decodeUtf8(beforeNul(bytes));
}
