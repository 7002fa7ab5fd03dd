/** The parts that all uses of qemu-img share. */

import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LibvirtError, systemError } from '../../errors.ts';
import { openImage } from '../../files/open-image.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Program } from '../program.ts';

/** The program, and the package that has it. */
export const QEMU_IMG: Program = { name: 'qemu-img', debianPackage: 'qemu-utils' };

/** QEMU's drivers of image formats. Its others, such as `nbd`, would read something else than the file that is named. */
export const FORMATS: ReadonlySet<string> = new Set(
  'bochs cloop dmg luks parallels qcow qcow2 qed raw vdi vhdx vmdk vpc'.split(' '),
);

/**
 * The format is stated, never probed: what a guest writes into a raw disk must not be read as an image header. An
 * overlay's header names its base's format, with any text: a text that is not a format is refused (CONFIG_UNSUPPORTED).
 */
export function imageOptions(image: DiskImage, prefix = ''): string {
  if (!FORMATS.has(image.format)) {
    const text = `${JSON.stringify(image.format)}, the format of image '${image.path}', is not one that QEMU has`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  return `${prefix}driver=${image.format},${prefix}file.filename=${image.path.replaceAll(',', ',,')}`;
}

/** The file's contents are on stable storage when it returns, and so is its name. */
export async function syncFile(path: string): Promise<void> {
  try {
    await using file = await openImage(path);
    await file.sync();
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } catch (error) {
    throw error instanceof LibvirtError ? error : systemError(error, `cannot sync image '${path}'`);
  }
}
