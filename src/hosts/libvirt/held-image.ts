/**
 * Memory images that libvirtd opens, too. The owner of an image's folder may be another user, who can replace the file after
 * xlsnapd has read it and before libvirtd does. So xlsnapd keeps it open, and libvirtd gets a name of the open file.
 */

import type { Stats } from 'node:fs';
import { type FileHandle, rename, rm, statfs } from 'node:fs/promises';
import { syncFile } from '../../disks/qemu/qemu-img.ts';
import { asLibvirtError, isLibvirtError, LibvirtError, receivedError, systemError } from '../../errors.ts';
import { answering } from '../../files/answering.ts';
import { MadeFile, removeSame } from '../../files/made-file.ts';
import { openImage } from '../../files/open-image.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import type { Upstream } from './upstream.ts';

type Libvirtd = Pick<Upstream, 'socketOwner' | 'sharesProcesses'>;

/** Mode bits of those who may change a file besides its owner. */
const OTHERS_WRITE = 0o022;

/** statfs(2): NFS, CIFS, SMB2. The owners of files there are the server's, which may give root's to somebody else. */
const NETWORK: ReadonlySet<number> = new Set([0x6969, 0xff534d42, 0xfe534d42]);

/** An open image. */
export interface HeldImage extends AsyncDisposable {
  /** For messages. */
  readonly path: string;
  /** The name by which this process and libvirtd open it. */
  readonly at: string;
}

/** An image that libvirtd is to write. */
export interface NewImage extends HeldImage {
  /** Refuses (OPERATION_FAILED) if another file is at its path by now. */
  requirePlace(): Promise<void>;
  /** Removes it; what is in its place by now stays. */
  remove(): Promise<void>;
  /** Gives it another name in its folder: contents and name are on stable storage then. */
  keepAs(path: string): Promise<void>;
}

/**
 * Holds an image that is to be restored. Refuses (OPERATION_FAILED) one that others than root can write to: root would start the
 * definition that they put into it.
 */
export async function holdImage(libvirtd: Libvirtd, path: string): Promise<HeldImage> {
  const owner = await libvirtd.socketOwner();
  const file = await openImage(path).catch((error) => {
    throw isLibvirtError(error) ? error : systemError(error, `Failed to open domain image file '${path}'`);
  });
  try {
    await requireTrusted(path, await file.stat(), owner);
    return { path, at: await nameFor(libvirtd, owner, file, path), [Symbol.asyncDispose]: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Makes an empty image for libvirtd to write to; one that is there is emptied. Refuses what `holdImage` would. */
export async function makeImage(libvirtd: Libvirtd, path: string): Promise<NewImage> {
  const owner = await libvirtd.socketOwner();
  if (owner !== process.geteuid?.()) {
    await emptied(path);
    return byLibvirtd(path);
  }
  const file = await MadeFile.create(path).catch((error) => {
    if (error.code !== 'EEXIST') throw systemError(error, `Failed to create domain save file '${path}'`);
    return MadeFile.existing(path);
  });
  const image = await madeImage(libvirtd, owner, file);
  try {
    await file.handle.truncate();
    return image;
  } catch (error) {
    await image[Symbol.asyncDispose]();
    throw systemError(error, `cannot empty file '${path}'`);
  }
}

/** Opens an image that libvirtd has written. Rejects with the system's error if it is not there. */
export async function findImage(libvirtd: Libvirtd, path: string): Promise<NewImage> {
  const owner = await libvirtd.socketOwner();
  const file = await MadeFile.existing(path);
  if (owner === process.geteuid?.()) return await madeImage(libvirtd, owner, file);
  await file[Symbol.asyncDispose]();
  return byLibvirtd(path);
}

async function madeImage(libvirtd: Libvirtd, owner: number, file: MadeFile): Promise<NewImage> {
  const { path } = file.at;
  try {
    await requireTrusted(path, await file.handle.stat(), owner);
    return {
      path,
      at: await nameFor(libvirtd, owner, file.handle, path),
      requirePlace: () => file.requirePlace(),
      remove: () => removeSame(file.at),
      async keepAs(name) {
        await file.sync();
        await file.rename(name);
      },
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** Does `work` with the image's open name; its errors name the path. */
export async function byName<T>({ path, at }: HeldImage, work: (at: string) => Promise<T>): Promise<T> {
  try {
    return await work(at);
  } catch (error) {
    const { fields } = asLibvirtError(error);
    if (at === path || !fields.message.includes(at)) throw error;
    const named = (text: string | null) => text?.replaceAll(at, path) ?? null;
    const message = fields.message.replaceAll(at, path);
    throw receivedError({ ...fields, message, str1: named(fields.str1), str2: named(fields.str2) });
  }
}

/** libvirtd of another user than ours cannot write to a file of ours: it makes its own. */
function byLibvirtd(path: string): NewImage {
  return {
    path,
    at: path,
    requirePlace: async () => undefined,
    remove: () => rm(path, { force: true }),
    async keepAs(name) {
      await syncFile(path);
      await rename(path, name);
      await syncFile(name);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function emptied(path: string): Promise<void> {
  try {
    await using file = await MadeFile.existing(path);
    await file.handle.truncate();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw isLibvirtError(error) ? error : systemError(error, `cannot empty file '${path}'`);
  }
}

/** A process of the same user, and root's, may open our files by our number of them, if it has that number under /proc. */
async function nameFor(libvirtd: Libvirtd, owner: number, { fd }: FileHandle, path: string): Promise<string> {
  const mayOpen = owner === process.geteuid?.() && (await libvirtd.sharesProcesses());
  return mayOpen ? `/proc/${process.pid}/fd/${fd}` : path;
}

async function requireTrusted(path: string, { uid, mode }: Stats, owner: number): Promise<void> {
  const trusted = [0, process.geteuid?.(), owner].includes(uid);
  if (trusted && (mode & OTHERS_WRITE) === 0) return;
  const { type } = await answering(path, () => statfs(path));
  if (NETWORK.has(type)) return;
  const whose = trusted ? 'can be written to by others than its owner' : `belongs to user ${uid}`;
  const way = `${shellCommand('chown', 'root:root', path)}; ${shellCommand('chmod', '600', path)}`;
  const text = `memory image '${path}' ${whose}, who could have root start something else while it is restored: if it is the right file, run: ${way}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
