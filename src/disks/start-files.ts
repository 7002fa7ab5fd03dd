/** Whether a domain can be started, as far as its files go. Asked before something ends that only a start brings back. */

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { asLibvirtError, LibvirtError, systemError } from '../errors.ts';
import { answering } from '../files/answering.ts';
import type { StartFile } from '../model/domain.ts';
import { readChain } from './chain/chains.ts';
import { imageExists } from './overlays/overlays.ts';

const MODES = { read: constants.R_OK, write: constants.R_OK | constants.W_OK, execute: constants.X_OK } as const;

/** Refuses (55) a file that is missing, no file, or not accessible, or an image with a broken backing chain. Reads only. */
export async function requireStartFiles(files: readonly StartFile[]): Promise<void> {
  for (const file of files) {
    try {
      await requireFile(file);
    } catch (error) {
      throw new LibvirtError('OPERATION_INVALID', asLibvirtError(error).detail, { cause: error });
    }
  }
}

async function requireFile({ role, path, access: mode, image, unless }: StartFile): Promise<void> {
  const failure = `cannot open '${path}' (${role}), which the domain would be started with`;
  if (unless !== undefined && (await imageExists(unless))) return;
  try {
    const found = await answering(path, () => stat(path));
    await answering(path, () => access(path, MODES[mode]));
    const isOpenable = found.isFile() || found.isBlockDevice() || (found.isDirectory() && image === undefined);
    if (!isOpenable) throw new LibvirtError('OPERATION_INVALID', `${failure}: it is neither a file nor a block device`);
  } catch (error) {
    throw error instanceof LibvirtError ? error : systemError(error, failure);
  }
  // A raw image has no backing image, and anything may be in it.
  if (image === undefined || image.format === 'raw') return;
  const { broken } = await readChain(image);
  if (!broken) return;
  throw new LibvirtError('OPERATION_INVALID', `${failure}: ${broken.error.detail}`, { cause: broken.error });
}
