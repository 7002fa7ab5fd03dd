import { graphOf, requireRoot } from '../../../src/disks/qemu/block-graph.ts';
import type { DiskImage } from '../../../src/model/disk-image.ts';
import type { LibxlDeviceDisk } from '../../../src/model/libxl.ts';

/** The image that the guest writes to now, by disk (`xvda`): what QEMU says, whatever the domain's definition says. */
export async function imagesInUse(
  socket: string,
  disks: readonly LibxlDeviceDisk[],
): Promise<ReadonlyMap<string, DiskImage>> {
  const graph = await graphOf(socket, disks.map(({ vdev }) => vdev).join(', '));
  const images = new Map<string, DiskImage>();
  for (const disk of disks) {
    const { path, driver } = await requireRoot(graph, disk);
    images.set(disk.vdev, { path, format: driver });
  }
  return images;
}
