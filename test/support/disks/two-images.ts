import { join } from 'node:path';
import { disk, newImage, scratchFolder } from '../hosts/embedded.ts';

/** A folder with images of two disks, whose names need care. */
export async function twoImages() {
  const folder = await scratchFolder();
  const a = await newImage(join(folder.path, 'a, with comma.qcow2'));
  const b = await newImage(join(folder.path, '-b.qcow2'));
  const close = () => folder[Symbol.asyncDispose]();
  return { a, b, disks: [disk('xvda', a), disk('xvdb', b)], folder: folder.path, [Symbol.asyncDispose]: close };
}
