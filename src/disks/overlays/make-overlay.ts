/** Makes overlays, in folders that may be other users': see files/made-file.ts. */

import { stat } from 'node:fs/promises';
import { isLibvirtError, systemError, undoAll } from '../../errors.ts';
import { MadeFile, removeSame } from '../../files/made-file.ts';
import type { FileAt } from '../../files/same-file.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import { backingImage, headerOf, isOverlayOf, readChain } from '../chain/chains.ts';
import { fileKey } from '../file-key.ts';
import { OPEN_FILE, runOnFile } from '../program.ts';
import { imageInfo } from '../qemu/image-info.ts';
import { QEMU_IMG } from '../qemu/qemu-img.ts';
import { checkOverlayFree, holdsData, imageExists, type Overlay, unsupported } from './overlays.ts';

/** The image below an overlay, and the size of the disk. */
interface Base extends DiskImage {
  readonly bytes: number;
}

/** An overlay that is there, and whether it is to go if the operation is undone. */
export interface CreatedOverlay {
  readonly file: FileAt;
  /** False for a file or device that the caller has made. */
  readonly ours: boolean;
}

/**
 * Makes the overlay, or with `reuse` adopts an empty one, above `base`. Durable when it returns. After an error nothing
 * is left of it.
 */
export async function createOverlay(overlay: Overlay, base: Base): Promise<CreatedOverlay> {
  await checkOverlayFree(overlay);
  if (overlay.reuse) return await adoptOverlay(overlay, base);
  await using made = await makeOverlay(overlay, base);
  return { file: made.at, ours: !(await made.handle.stat()).isBlockDevice() };
}

/** Undoes createOverlay. A file that the caller has made stays, and so does one that has taken the overlay's place. */
export async function removeOverlay({ file, ours }: CreatedOverlay): Promise<void> {
  if (!ours) return;
  await removeSame(file).catch((error) => {
    throw systemError(error, `cannot remove image '${file.path}'`);
  });
}

/**
 * Makes the file, or writes to the block device. A new file can be opened by those who can open `like`. Durable when it
 * returns; after an error a file is gone again.
 */
export async function makeOverlay(overlay: Overlay, base: Base, like = base.path): Promise<MadeFile> {
  const failure = `cannot create external snapshot '${overlay.path}' of disk '${overlay.disk}'`;
  return await makeImage(overlay, { bytes: base.bytes, backing: base, like, failure });
}

/** What an image is made with. `failure` begins the message of an error. */
interface Making {
  /** Size of the disk. */
  readonly bytes: number;
  readonly backing?: DiskImage | undefined;
  /** An image whose owner and mode a new file gets. */
  readonly like: string;
  readonly failure: string;
}

/** Makes an empty image, with a backing image or without; the rest is as for makeOverlay. */
export async function makeImage({ path, format }: DiskImage, making: Making): Promise<MadeFile> {
  const { bytes, like, failure } = making;
  const existed = await imageExists(path);
  const made = await openFor(existed ? 'overwriting' : 'new', path, failure);
  try {
    const backing = making.backing ? ['-u', '-b', making.backing.path, '-F', making.backing.format] : [];
    const args = ['create', '-q', '-f', format, ...backing, '--', OPEN_FILE, String(bytes)];
    await runOnFile(QEMU_IMG, args, failure, { fd: made.handle.fd, path });
    if (!existed) {
      await shareAccess(made, like).catch((error) => {
        throw systemError(error, `${failure}: it cannot have the owner and mode of '${like}'`);
      });
    }
    await made.sync().catch((error) => {
      throw systemError(error, `cannot sync image '${path}'`);
    });
    if (!existed) await made.requirePlace();
    return made;
  } catch (error) {
    await using closing = made;
    const ours = !(await closing.handle.stat()).isBlockDevice();
    throw await undoAll([() => removeOverlay({ file: made.at, ours })], error);
  }
}

/** Refuses to overwrite a file that has become another one since it was checked. */
async function openFor(purpose: 'new' | 'overwriting' | 'adoption', path: string, failure: string): Promise<MadeFile> {
  try {
    if (purpose === 'new') return await MadeFile.create(path);
    const file = await MadeFile.existing(path);
    const { size } = await file.handle.stat();
    // The size of a block device is 0 here.
    if (purpose === 'adoption' || size === 0) return file;
    await file[Symbol.asyncDispose]();
    throw unsupported('it is not empty');
  } catch (error) {
    if (isLibvirtError(error)) throw unsupported(`${failure}: ${error.detail}`);
    throw systemError(error, failure);
  }
}

/**
 * Gives the file the owner, group and mode of `like`: libvirtd and QEMU may run as other users. Its owner can always write to
 * it, also if `like` has been made read-only.
 */
async function shareAccess({ handle }: MadeFile, like: string): Promise<void> {
  const { uid, gid, mode } = await stat(like);
  const made = await handle.stat();
  if (made.uid !== uid || made.gid !== gid) await handle.chown(uid, gid);
  const wanted = (mode & 0o777) | 0o600;
  if ((made.mode & 0o777) !== wanted) await handle.chmod(wanted);
}

/**
 * Adopts an overlay that the caller has made. The next start of the domain reads its header, so the header must name the
 * base: by any name, which stays, so that folders can be moved. If it names none, or not the base's format, that is
 * written. The overlay must be empty: its data would replace what the guest sees.
 */
async function adoptOverlay(overlay: Overlay, base: Base): Promise<CreatedOverlay> {
  const { disk, path, format } = overlay;
  const failure = `cannot use existing file '${path}' for disk '${disk}'`;
  await using file = await openFor('adoption', path, failure);
  const adopted = { file: file.at, ours: false };
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
  if (backing?.format === base.format) return adopted;
  // A format in front of a list of options would replace the driver among them.
  const name = backing && !backing.name.startsWith('json:') ? backing.name : base.path;
  const args = ['rebase', '-q', '-u', '-f', format, '-b', name, '-F', base.format, '--', OPEN_FILE];
  await runOnFile(QEMU_IMG, args, failure, { fd: file.handle.fd, path });
  await file.sync();
  return adopted;
}
