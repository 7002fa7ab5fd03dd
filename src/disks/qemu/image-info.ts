/** Describes single images, by qemu-img. Reads only; works while a device model has the image open. */

import { constants, type Stats } from 'node:fs';
import { access, type FileHandle, readFile } from 'node:fs/promises';
import { asLibvirtError, isLibvirtError, LibvirtError, systemError } from '../../errors.ts';
import { openImage, requireImageFile } from '../../files/open-image.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { requireFiles } from '../chain/chains.ts';
import { type ProgramEnd, runProgram } from '../program.ts';
import { INCOMPATIBLE, readerOf, readQcow2Header } from './qcow2-header.ts';
import { imageOptions, QEMU_IMG } from './qemu-img.ts';

/** An internal snapshot in an image's own table. */
export interface ImageSnapshot {
  readonly id: string;
  readonly name: string;
  /** RAM inside the image, bytes: 0 for snapshots of Xen guests, whose RAM is in a file of its own. */
  readonly vmStateBytes: number;
  /** Seconds since the epoch. */
  readonly creationTime: number;
  /** Differs from that of any other snapshot that the image has had under this name. */
  readonly identity: string;
}

/** An image as `qemu-img info` reports it. */
export interface ImageInfo extends DiskImage {
  /** Size of the disk as a guest sees it. */
  readonly virtualBytes: number;
  /** Size of the file on its file system. */
  readonly allocatedBytes: number;
  readonly snapshots: readonly ImageSnapshot[];
  /** Names of the persistent dirty bitmaps. */
  readonly bitmaps: readonly string[];
}

const SECTOR_BYTES = 512;
/** The unit of st_blocks. */
const STAT_BLOCK_BYTES = 512;

/** `qemu-img info` reads little more than headers. */
const INFO_TIMEOUT_MS = 10_000;

/** An object of `qemu-img info --output=json`. */
interface QemuImageInfo {
  readonly 'virtual-size': number;
  readonly 'actual-size'?: number;
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'vm-state-size': number;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
    readonly 'vm-clock-sec': number;
    readonly 'vm-clock-nsec': number;
  }[];
  readonly 'format-specific'?: {
    readonly data?: {
      readonly bitmaps?: readonly { readonly name: string }[];
    };
  };
}

interface ReadOptions {
  /** Default: true. False refuses an image that somebody writes to. */
  readonly share?: boolean;
  /** Begins the message of an error. */
  readonly failure?: string;
}

/** QEMU's words for an image that another QEMU has open. */
const LOCKED = /Failed to get .*lock/;

/** The image that a disk writes to. */
export function imageOf({ pdev_path = '', format = 'raw' }: LibxlDeviceDisk): DiskImage {
  return { path: pdev_path, format };
}

/**
 * What qemu-img says of one image alone; its backing image is not opened. An error has the reason `image-in-use` if that is
 * the reason.
 */
export async function queryImage(image: DiskImage, options: ReadOptions = {}): Promise<QemuImageInfo> {
  const { share = true, failure = `cannot read image '${image.path}'` } = options;
  const args = ['info', ...(share ? ['-U'] : []), '--output=json', '--image-opts', imageOptions(image)];
  await requireImageFile(image.path).catch((error: unknown) => {
    if (isLibvirtError(error)) throw new LibvirtError(error.code, `${failure}: ${error.detail}`, { cause: error });
    throw systemError(error, failure);
  });
  const json = await runProgram(QEMU_IMG, args, failure, INFO_TIMEOUT_MS).catch(explainLock);
  return JSON.parse(json) as QemuImageInfo;
}

/** The sizes of one image alone, and its internal snapshots. Errors are those of queryImage. */
export async function imageInfo(image: DiskImage, options: ReadOptions = {}): Promise<ImageInfo> {
  const info = await queryImage(image, options);
  return {
    ...{ path: image.path, format: image.format },
    virtualBytes: info['virtual-size'],
    allocatedBytes: info['actual-size'] ?? 0,
    bitmaps: (info['format-specific']?.data?.bitmaps ?? []).map(({ name }) => name),
    snapshots: (info.snapshots ?? []).map((snapshot) => ({
      id: snapshot.id,
      name: snapshot.name,
      vmStateBytes: snapshot['vm-state-size'],
      creationTime: snapshot['date-sec'],
      identity: ['id', 'date-sec', 'date-nsec', 'vm-clock-sec', 'vm-clock-nsec']
        .map((key) => snapshot[key as keyof typeof snapshot])
        .join(' '),
    })),
  };
}

/** Sizes of one image alone: of the disk, of the file's data and of the file; the first three times for a block device. */
interface ImageSizes {
  readonly virtualBytes: number;
  readonly allocatedBytes: number;
  readonly fileBytes: number;
}

/**
 * The sizes that a client may ask for as often as it likes: no program is started for the formats that Xen's guests have.
 * Errors are those of queryImage.
 */
export async function imageSizes(image: DiskImage): Promise<ImageSizes> {
  await using file = await openImage(image.path).catch((error) => {
    const failure = `cannot read image '${image.path}'`;
    throw isLibvirtError(error)
      ? new LibvirtError(error.code, `${failure}: ${error.detail}`)
      : systemError(error, failure);
  });
  const found = await file.stat();
  const fileBytes = found.isBlockDevice() ? await deviceBytes(found) : found.size;
  const known = await virtualBytesOf(image, file, fileBytes);
  const { virtualBytes, allocatedBytes } = known
    ? { virtualBytes: known, allocatedBytes: found.blocks * STAT_BLOCK_BYTES }
    : await imageInfo(image);
  if (found.isBlockDevice()) return { virtualBytes, allocatedBytes: virtualBytes, fileBytes: virtualBytes };
  return { virtualBytes, allocatedBytes, fileBytes };
}

/** Undefined if qemu-img is to be asked: for other formats, and an image that is damaged or has its data in another file. */
async function virtualBytesOf({ format }: DiskImage, file: FileHandle, fileBytes: number): Promise<number | undefined> {
  if (format === 'raw') return Math.ceil(fileBytes / SECTOR_BYTES) * SECTOR_BYTES;
  if (format !== 'qcow2') return undefined;
  const header = await readQcow2Header(readerOf(file)).catch(() => undefined);
  if (!header || (header.incompatible & INCOMPATIBLE.dataFile) !== 0n) return undefined;
  return Number(header.virtualBytes);
}

/** Linux' own numbers of a device: stat knows no size of it. */
async function deviceBytes({ rdev }: Stats): Promise<number> {
  const [major, minor] = [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)];
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES;
}

/** Refuses an image that cannot be written to, or that somebody writes to. `failure` begins the message. Reads only. */
export async function requireChangeable(image: DiskImage, failure: string): Promise<ImageInfo> {
  await requireAccess(image.path, constants.R_OK | constants.W_OK, failure);
  return await imageInfo(image, { share: false, failure });
}

/** Refuses a file or folder that this process may not use in this `mode` (R_OK, W_OK, X_OK of access(2)). */
export async function requireAccess(path: string, mode: number, failure: string): Promise<void> {
  await access(path, mode).catch((error) => {
    throw systemError(error, `${failure}: '${path}' cannot be written to`);
  });
}

function explainLock(error: unknown): never {
  const end = isLibvirtError(error) ? (error.cause as Partial<ProgramEnd> | undefined) : undefined;
  if (!isLibvirtError(error) || !LOCKED.test(end?.stderr ?? '')) throw error;
  throw new LibvirtError(error.code, error.detail, { cause: error, reason: 'image-in-use' });
}

/** Result of `qemu-img check`; `unsupported` for formats that it cannot check. */
export type ImageCheck = { readonly corruptions: number; readonly leaks: number } | 'unsupported';

/** Exit codes of `qemu-img check` that come with a report. */
const CHECK_EXIT = { corruptions: 2, leaks: 3, unsupported: 63 } as const;

/**
 * An image that is being written to may show leaks and corruptions that are gone a moment later. Refuses one whose chain cannot be
 * followed.
 */
export async function checkImage(image: DiskImage): Promise<ImageCheck> {
  await requireFiles(image).catch((error) => {
    throw new LibvirtError('OPERATION_FAILED', `cannot check image '${image.path}': ${asLibvirtError(error).detail}`);
  });
  const args = ['check', '-U', '--output=json', '--image-opts', imageOptions(image)];
  try {
    return checkReport(await runProgram(QEMU_IMG, args, `cannot check image '${image.path}'`));
  } catch (error) {
    const { code, stdout = '' } = ((error as LibvirtError).cause ?? {}) as Partial<ProgramEnd>;
    if (code === CHECK_EXIT.unsupported) return 'unsupported';
    if (code === CHECK_EXIT.corruptions || code === CHECK_EXIT.leaks) return checkReport(stdout);
    throw error;
  }
}

function checkReport(json: string): ImageCheck {
  const { corruptions = 0, leaks = 0 } = JSON.parse(json) as { corruptions?: number; leaks?: number };
  return { corruptions, leaks };
}

/** How large a new qcow2 image with the contents of one internal snapshot would be, bytes. Refuses as checkImage does. */
export async function aloneBytes(image: DiskImage, { id }: ImageSnapshot): Promise<number> {
  await requireFiles(image);
  const snapshot = ['-l', `snapshot.id=${id}`];
  const args = ['measure', '-U', '-O', 'qcow2', '--output=json', ...snapshot, '--image-opts', imageOptions(image)];
  const json = await runProgram(QEMU_IMG, args, `cannot measure snapshot ${id} of image '${image.path}'`);
  return (JSON.parse(json) as { required: number }).required;
}
