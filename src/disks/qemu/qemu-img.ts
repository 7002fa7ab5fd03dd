/** The parts that all uses of qemu-img share. */

import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Program } from '../program.ts';

export const QEMU_IMG: Program = { name: 'qemu-img', debianPackage: 'qemu-utils' };

/** The format is stated, never probed: what a guest writes into a raw disk must not be read as an image header. */
export function imageOptions(image: DiskImage, prefix = ''): string {
  return `${prefix}driver=${image.format},${prefix}file.filename=${image.path.replaceAll(',', ',,')}`;
}

/** The file's contents are on stable storage when it returns, and so is its name. */
export async function syncFile(path: string): Promise<void> {
  for (const each of [path, dirname(path)]) {
    await using file = await open(each, 'r');
    await file.sync();
  }
}
