/** The header of qcow2 images (docs/interop/qcow2.txt of QEMU): the one place that knows its offsets. */

import type { FileHandle } from 'node:fs/promises';
import { LibvirtError } from '../../errors.ts';
import { readAt } from '../../files/open-image.ts';

/** Reads bytes; those beyond the end of the file are zero. */
export type ReadAt = (position: number, bytes: number) => Promise<Buffer>;

/** Offsets in the header. Those of the last line are in version 3 alone. */
const AT = {
  ...{
    version: 4,
    backing: 8,
    backingLength: 16,
    clusterBits: 20,
    virtualBytes: 24,
    crypt: 32,
    l1Entries: 36,
    l1Table: 40,
  },
  ...{ refcounts: 48, refcountClusters: 56 },
  ...{ snapshots: 60, snapshotTable: 64 },
  ...{ incompatible: 72, autoclear: 88, length: 100 },
} as const;
/** Where a header of version 2 ends, and how many bytes of version 3 are read. */
const BYTES = { version2: 72, version3: 104 } as const;
const MAGIC = Buffer.from('QFI\xfb', 'latin1');
const CLUSTER_BITS = { min: 9, max: 21 } as const;

/** Bits of incompatible_features. QEMU repairs a dirty image by itself when it opens it for writing. */
export const INCOMPATIBLE = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
} as const;
/** The bit of autoclear_features that says that the extension of persistent dirty bitmaps counts. */
export const AUTOCLEAR_BITMAPS = 1n << 0n;

/** Types of header extensions. */
export const EXTENSION = { backingFormat: 0xe2792aca, dataFile: 0x44415441, bitmaps: 0x23852875 } as const;
const LAST_EXTENSION = 0;
/** QEMU knows six types. The first cluster has room for 262,144 empty ones, each of which would be read by itself. */
const MAX_EXTENSIONS = 64;

/** A table of the places of clusters: offset in the file, and number of entries. */
export interface L1Table {
  readonly offset: bigint;
  /** Of 8 bytes each. */
  readonly entries: number;
}

/** What the header says; positions are offsets in the file. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  /** The place of the backing image's name; absent: there is none. */
  readonly backing?: { readonly position: bigint; readonly bytes: number };
  readonly clusterBytes: number;
  /** Size of the disk as a guest sees it. */
  readonly virtualBytes: bigint;
  readonly encrypted: boolean;
  readonly l1: L1Table;
  /** The table of refcount blocks; entries as in an L1 table. */
  readonly refcounts: L1Table;
  readonly snapshots: { readonly count: number; readonly position: bigint };
  /** Bits; none in version 2. */
  readonly incompatible: bigint;
  readonly autoclear: bigint;
  /** Where its extensions begin. */
  readonly bytes: number;
}

/** One extension of the header. */
interface Extension {
  readonly type: number;
  /** Of its data. */
  readonly position: number;
  readonly bytes: number;
}

/** True for the first 8 bytes of a qcow2 image of a version that QEMU knows. */
export function isQcow2Header(bytes: Buffer): boolean {
  const version = bytes.readUInt32BE(AT.version);
  return bytes.subarray(0, MAGIC.length).equals(MAGIC) && (version === 2 || version === 3);
}

/** Rejects (OPERATION_FAILED, without the image's name) for what is not a qcow2 image that QEMU knows. */
export async function readQcow2Header(read: ReadAt): Promise<Qcow2Header> {
  const header = await read(0, BYTES.version3);
  const version = header.readUInt32BE(AT.version);
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged('Image is not in qcow2 format');
  if (version !== 2 && version !== 3) throw damaged(`Unsupported qcow2 version ${version}`);
  const clusterBits = header.readUInt32BE(AT.clusterBits);
  if (clusterBits < CLUSTER_BITS.min || clusterBits > CLUSTER_BITS.max) throw damaged('its cluster size is damaged');
  const backing = header.readBigUInt64BE(AT.backing);
  return {
    version,
    ...(backing !== 0n && { backing: { position: backing, bytes: header.readUInt32BE(AT.backingLength) } }),
    clusterBytes: 2 ** clusterBits,
    virtualBytes: header.readBigUInt64BE(AT.virtualBytes),
    encrypted: header.readUInt32BE(AT.crypt) !== 0,
    l1: { offset: header.readBigUInt64BE(AT.l1Table), entries: header.readUInt32BE(AT.l1Entries) },
    refcounts: {
      offset: header.readBigUInt64BE(AT.refcounts),
      entries: (header.readUInt32BE(AT.refcountClusters) * 2 ** clusterBits) / 8,
    },
    snapshots: { count: header.readUInt32BE(AT.snapshots), position: header.readBigUInt64BE(AT.snapshotTable) },
    incompatible: version === 2 ? 0n : header.readBigUInt64BE(AT.incompatible),
    autoclear: version === 2 ? 0n : header.readBigUInt64BE(AT.autoclear),
    bytes: version === 2 ? BYTES.version2 : header.readUInt32BE(AT.length),
  };
}

/** The header's extensions, which end where the first cluster or the backing image's name begins. */
export async function readExtensions(read: ReadAt, header: Qcow2Header): Promise<readonly Extension[]> {
  const { backing, clusterBytes } = header;
  const end = Math.min(backing ? Number(backing.position) : clusterBytes, clusterBytes);
  const found: Extension[] = [];
  for (let at = header.bytes; at + 8 <= end; ) {
    if (found.length === MAX_EXTENSIONS) throw damaged(`it has more than ${MAX_EXTENSIONS} header extensions`);
    const head = await read(at, 8);
    const extension = { type: head.readUInt32BE(0), position: at + 8, bytes: head.readUInt32BE(4) };
    if (extension.type === LAST_EXTENSION) break;
    if (extension.bytes > end - extension.position) throw damaged('Header extension too large');
    found.push(extension);
    at = extension.position + Math.ceil(extension.bytes / 8) * 8;
  }
  return found;
}

/** ReadAt of an open file. */
export function readerOf(file: FileHandle): ReadAt {
  return (position, bytes) => readAt(file, position, bytes);
}

/** Without the image's name, which the caller puts before it. */
export function damaged(text: string): LibvirtError {
  return new LibvirtError('OPERATION_FAILED', text);
}
