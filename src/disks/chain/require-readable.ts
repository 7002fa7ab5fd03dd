/** Whether a disk can be used: its image, and all images below it. */

import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { imageInfo, imageOf } from '../qemu/image-info.ts';
import { requireFiles } from './chains.ts';

/**
 * Refuses (55) a disk if its image, or one of the backing chain, cannot be read, or another process writes to the image.
 * `open`: paths of the images that the domain's own device model has open; of the chain, nobody asks who uses it.
 */
export async function requireReadable(disk: LibxlDeviceDisk, open: ReadonlySet<string>): Promise<void> {
  const image = imageOf(disk);
  try {
    await requireFiles(image);
    if (!open.has(image.path)) await imageInfo(image, { share: false });
  } catch (error) {
    const text = `image '${image.path}' of disk '${disk.vdev}' cannot be used: ${asLibvirtError(error).detail}`;
    throw new LibvirtError('OPERATION_INVALID', text, { cause: error });
  }
}
