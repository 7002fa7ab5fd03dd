/** Overlays: image files that take a disk's further writes, so that the base stays as it is. */

import { constants, type Stats } from 'node:fs';
import { access, type FileHandle, open, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { LibvirtError, systemError, undoAll } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { backingImage, headerOf, isOverlayOf, readChain } from '../chain/chains.ts';
import { fileKey } from '../file-key.ts';
import { runProgram } from '../program.ts';
import { imageInfo } from '../qemu/image-info.ts';
import { QEMU_IMG, syncFile } from '../qemu/qemu-img.ts';

/** libvirt's choice (qemuSnapshotPrepareDiskExternal); the first is the default. */
const OVERLAY_FORMATS = ['qcow2', 'qed'] as const;

/** An external snapshot's parameters, with defaults filled in. */
export interface Overlay extends DiskImage {
  readonly disk: string;
  readonly reuse: boolean;
}

/** The image below an overlay, and the size of the disk. */
interface Base extends DiskImage {
  readonly bytes: number;
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
  const found = await statOf(path);
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

/**
 * Makes the overlay, or with `reuse` adopts an empty one, above `base`. Durable when it returns. After an error nothing
 * is left of it.
 */
export async function createOverlay(overlay: Overlay, base: Base): Promise<void> {
  await checkOverlayFree(overlay);
  if (overlay.reuse) await adoptOverlay(overlay, base);
  else await makeOverlay(overlay, base);
}

/** Undoes createOverlay. A file that the caller has made stays. */
export async function removeOverlay({ path, reuse }: Overlay): Promise<void> {
  if (!reuse) await removeImage(path);
}

/** Removes the file, durably. A block device keeps its contents; a missing file is not an error. */
export async function removeImage(path: string): Promise<void> {
  const found = await statOf(path);
  if (!found || found.isBlockDevice()) return;
  try {
    await rm(path, { force: true });
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } catch (error) {
    throw systemError(error, `cannot remove image '${path}'`);
  }
}

/**
 * Makes the file, or writes to the block device. A new file can be opened by those who can open `like`. Durable when it
 * returns; after an error a file is gone again.
 */
export async function makeOverlay(overlay: Overlay, base: Base, like = base.path): Promise<void> {
  const { disk, path, format } = overlay;
  const failure = `cannot create external snapshot '${path}' of disk '${disk}'`;
  const existed = await imageExists(path);
  // qemu-img would overwrite a file, and make it readable for everyone.
  const file = await open(path, existed ? 'r+' : 'wx', 0o600).catch((error) => {
    throw systemError(error, failure);
  });
  try {
    await using made = file;
    const backing = ['-u', '-b', base.path, '-F', base.format];
    await runProgram(QEMU_IMG, ['create', '-q', '-f', format, ...backing, '--', path, String(base.bytes)], failure);
    // Not what existed: it may be a link to a file of another owner's.
    if (!existed) {
      await shareAccess(made, like).catch((error) => {
        throw systemError(error, `${failure}: it cannot have the owner and mode of '${like}'`);
      });
    }
    await syncFile(path);
  } catch (error) {
    throw await undoAll([() => removeImage(path)], error);
  }
}

/**
 * Gives the file the owner, group and mode of `like`: libvirtd and QEMU may run as other users. Its owner can always write to
 * it, also if `like` has been made read-only. After qemu-img: in a folder like /tmp the kernel lets it write to own files only.
 */
async function shareAccess(file: FileHandle, like: string): Promise<void> {
  const { uid, gid, mode } = await stat(like);
  const made = await file.stat();
  if (made.uid !== uid || made.gid !== gid) await file.chown(uid, gid);
  const wanted = (mode & 0o777) | 0o600;
  if ((made.mode & 0o777) !== wanted) await file.chmod(wanted);
}

/**
 * Adopts an overlay that the caller has made. The next start of the domain reads its header, so the header must name the
 * base: by any name, which stays, so that folders can be moved. If it names none, or not the base's format, that is
 * written. The overlay must be empty: its data would replace what the guest sees.
 */
async function adoptOverlay(overlay: Overlay, base: Base): Promise<void> {
  const { disk, path } = overlay;
  const failure = `cannot use existing file '${path}' for disk '${disk}'`;
  const key = await fileKey(path);
  if ((await readChain(base)).layers.some((layer) => layer.key === key)) {
    throw unsupported(`${failure}: it is in the disk's own backing chain`);
  }
  const { virtualBytes } = await imageInfo(overlay, { share: false, failure });
  if (virtualBytes !== base.bytes) {
    throw unsupported(`${failure}: it is a disk of ${virtualBytes} bytes, not of ${base.bytes}`);
  }
  const { backing } = await headerOf(overlay);
  if (backing && !(await isOverlayOf(overlay, base))) {
    const named = (await backingImage(overlay))?.path ?? backing.name;
    throw unsupported(`${failure}: its backing image is '${named}', not '${base.path}'`);
  }
  if (await holdsData(overlay)) throw unsupported(`${failure}: it is not empty`);
  if (backing?.format === base.format) return;
  // A format in front of a list of options would replace the driver among them.
  const name = backing && !backing.name.startsWith('json:') ? backing.name : base.path;
  await rebaseHeader(overlay, { path: name, format: base.format }, failure);
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
  return (await statOf(path)) !== undefined;
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
  return (await statOf(path))?.isBlockDevice() ?? false;
}

function statOf(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined);
}

function unsupported(text: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', text);
}
