/** Whether a domain can be started, as far as its files go. Asked before something ends that only a start brings back. */

import { constants, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asLibvirtError, LibvirtError, systemError } from '../errors.ts';
import { answering, statIfThere } from '../files/answering.ts';
import type { FileAccess, StartFile } from '../model/domain.ts';
import { readChain } from './chain/chains.ts';
import { imageExists } from './overlays/overlays.ts';

const { R_OK, W_OK, X_OK } = constants;

interface Kind {
  /** For access(2). */
  readonly mode: number;
  /** Why it cannot be used as it is; undefined if it can. */
  refusal(found: Stats): string | undefined;
  /** If it is not there, it is made: its folder must allow that. */
  readonly isMade?: true;
}

const unlessData = (found: Stats) =>
  found.isFile() || found.isBlockDevice() ? undefined : 'it is neither a file nor a block device';
const unlessIt = (isRight: (found: Stats) => boolean, kind: string) => (found: Stats) =>
  isRight(found) ? undefined : `it is not a ${kind}`;
const unlessFolder = (found: Stats) => (found.isDirectory() ? 'it is a folder' : undefined);

const KINDS: Readonly<Record<FileAccess, Kind>> = {
  read: { mode: R_OK, refusal: unlessData },
  write: { mode: R_OK | W_OK, refusal: unlessData },
  execute: { mode: X_OK, refusal: unlessData },
  folder: { mode: R_OK | X_OK, refusal: unlessIt((found) => found.isDirectory(), 'folder') },
  device: { mode: R_OK, refusal: unlessIt((found) => found.isCharacterDevice(), 'character device') },
  pipe: { mode: R_OK | W_OK, refusal: unlessIt((found) => found.isFIFO(), 'pipe') },
  create: { mode: W_OK, refusal: unlessFolder, isMade: true },
  // A socket of an earlier guest is replaced.
  bind: { mode: W_OK, refusal: unlessFolder, isMade: true },
  connect: { mode: R_OK | W_OK, refusal: unlessIt((found) => found.isSocket(), 'socket') },
};

/** Refuses (55) a file that is missing, of another kind, or not accessible, or an image with a broken backing chain. Reads only. */
export async function requireStartFiles(files: readonly StartFile[]): Promise<void> {
  for (const file of files) {
    try {
      await requireFile(file);
    } catch (error) {
      throw new LibvirtError('OPERATION_INVALID', asLibvirtError(error).detail, { cause: error });
    }
  }
}

async function requireFile({ role, path, access: use, image, unless }: StartFile): Promise<void> {
  const failure = `cannot open '${path}' (${role}), which the domain would be started with`;
  if (unless !== undefined && (await imageExists(unless))) return;
  const { mode, refusal, isMade } = KINDS[use];
  try {
    if (isMade && !(await statIfThere(path))) {
      const folder = dirname(path);
      await answering(folder, () => access(folder, W_OK | X_OK));
      return;
    }
    const found = await answering(path, () => stat(path));
    await answering(path, () => access(path, mode));
    const reason = refusal(found);
    if (reason !== undefined) throw new LibvirtError('OPERATION_INVALID', `${failure}: ${reason}`);
  } catch (error) {
    throw error instanceof LibvirtError ? error : systemError(error, failure);
  }
  // A raw image has no backing image, and anything may be in it.
  if (image === undefined || image.format === 'raw') return;
  const { broken } = await readChain(image);
  if (!broken) return;
  throw new LibvirtError('OPERATION_INVALID', `${failure}: ${broken.error.detail}`, { cause: broken.error });
}
