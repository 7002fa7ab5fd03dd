/** Overlays: image files that take a disk's further writes, so that the base stays as it is. */

import { constants } from 'node:fs';
import { access, open, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { LibvirtError, systemError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { runProgram } from '../program.ts';
import { QEMU_IMG, syncFile } from '../qemu/qemu-img.ts';

/** libvirt's choice (qemuSnapshotPrepareDiskExternal); the first is the default. */
const OVERLAY_FORMATS = ['qcow2', 'qed'] as const;

/** An external snapshot's parameters, with defaults filled in. */
export interface Overlay extends DiskImage {
  readonly disk: string;
  readonly reuse: boolean;
}

/** The overlay that the snapshot asks for. Refuses (67) an unsupported format, and a relative path. */
export function overlayOf(snapshot: LibxlDiskSnapshot): Overlay {
  const { disk, external_path: path, external_format: format = 'qcow2', external_reuse: reuse = false } = snapshot;
  if (!OVERLAY_FORMATS.some((each) => each === format)) {
    throw unsupported(`external snapshot format for disk ${disk.vdev} is unsupported: ${format}`);
  }
  if (path === undefined || !isAbsolute(path)) {
    throw unsupported(`external snapshot of disk '${disk.vdev}' needs the absolute path of a new file`);
  }
  return { disk: disk.vdev, path, format, reuse };
}

/** Refuses, with libvirt's code and text, a file that exists, or with `reuse` one that does not. Reads only. */
export async function checkOverlayFree({ disk, path, reuse }: Overlay): Promise<void> {
  const found = await statIfThere(path);
  if (reuse) {
    if (found) return;
    const text = `missing existing file for disk ${disk}: ${path}`;
    throw systemError(await stat(path).catch((error: unknown) => error), text);
  }
  if (found && !found.isBlockDevice() && found.size > 0) {
    const text = `external snapshot file for disk ${disk} already exists and is not a block device: ${path}`;
    throw unsupported(text);
  }
  try {
    await access(dirname(path), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw systemError(error, `cannot create external snapshot of disk '${disk}' in '${dirname(path)}'`);
  }
}

/** Removes the file, durably. A block device keeps its contents; a missing file is not an error. */
export async function removeImage(path: string): Promise<void> {
  const found = await statIfThere(path);
  if (!found || found.isBlockDevice()) return;
  try {
    await rm(path, { force: true });
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } catch (error) {
    throw systemError(error, `cannot remove image '${path}'`);
  }
}

/** Refuses (67) to merge an overlay that has internal snapshots, naming them: a merge would lose them. */
export function refuseSnapshotLoss(disk: string, path: string, snapshots: readonly { readonly name: string }[]): void {
  if (snapshots.length === 0) return;
  const names = snapshots.map(({ name }) => `'${name}'`).join(', ');
  throw unsupported(
    `image '${path}' of disk '${disk}' cannot be merged: the internal snapshots in it (${names}) would be lost; delete them first`,
  );
}

/** Refuses (67) to merge an overlay that has dirty bitmaps: a merge would lose them, and backups with them. */
export function refuseBitmapLoss(disk: string, path: string, bitmaps: readonly string[]): void {
  const [bitmap] = bitmaps;
  if (bitmap === undefined) return;
  const removal = shellCommand('qemu-img', 'bitmap', '--remove', path, bitmap);
  throw unsupported(
    `image '${path}' of disk '${disk}' cannot be merged: its dirty bitmap '${bitmap}' would be lost; to remove it while no guest uses the image: ${removal}`,
  );
}

/** Makes `base` the backing image that the header of `image` names, durably; copies no data. */
export async function rebaseHeader(image: DiskImage, base: DiskImage, failure: string): Promise<void> {
  const args = ['rebase', '-q', '-u', '-f', image.format, '-b', base.path, '-F', base.format, '--', image.path];
  await runProgram(QEMU_IMG, args, failure);
  await syncFile(image.path);
}

/** True if the image alone, without its backing chain, holds data. Also works while the image is in use. */
export async function holdsData(image: DiskImage): Promise<boolean> {
  return (await imageExtents(image)).some(({ present, data }) => present ?? data);
}

/** A part of an image, in bytes of the disk, as `qemu-img map` describes it. */
export interface Extent {
  readonly start: number;
  readonly length: number;
  readonly present?: boolean;
  readonly data: boolean;
  /** Its place in the file. */
  readonly offset?: number;
}

/** The parts of the image alone, without its backing chain, from the first byte on. Also works while it is in use. */
export async function imageExtents(image: DiskImage): Promise<readonly Extent[]> {
  const backing = image.format === 'raw' ? {} : { backing: null };
  const alone = { driver: image.format, file: { filename: image.path }, ...backing };
  const args = ['map', '-U', '--output=json', `json:${JSON.stringify(alone)}`];
  return JSON.parse(await runProgram(QEMU_IMG, args, `cannot read image '${image.path}'`)) as readonly Extent[];
}

/** True if something exists at the path; follows links. */
export async function imageExists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}

/** The images with what stat finds: which of them are block devices. */
export async function withKinds(images: ReadonlyMap<string, DiskImage>): Promise<ReadonlyMap<string, DiskImage>> {
  const found = [...images].map(async ([disk, { path, format }]): Promise<[string, DiskImage]> => {
    return [disk, { path, format, ...((await isBlockDevice(path)) && { block: true }) }];
  });
  return new Map(await Promise.all(found));
}

/** True for a block device; follows links. */
export async function isBlockDevice(path: string): Promise<boolean> {
  return (await statIfThere(path))?.isBlockDevice() ?? false;
}

/** CONFIG_UNSUPPORTED (67). */
export function unsupported(text: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', text);
}
