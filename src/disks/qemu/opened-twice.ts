/**
 * Disks that QEMU has open twice: an HVM guest's, as emulated drive and as PV disk, until its PV drivers unplug the first.
 * Each of the two keeps the image's own tables in memory, and would write over a snapshot that only the other knows of.
 */

import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { type BlockGraph, rootsOf } from './block-graph.ts';
import type { Qmp } from './qmp.ts';

/** True as long as the guest may still go over from the emulated drive to the PV disk. */
export function isDoubled(graph: BlockGraph, { vdev, pdev_path: path }: LibxlDeviceDisk): boolean {
  const [root, ...others] = rootsOf(graph, vdev, path);
  return root?.emulated !== undefined && others.length > 0;
}

/**
 * Has QEMU read all its images anew, as it does when a guest goes on after a migration that failed: the images are given
 * up, and taken up again (bdrv_inactivate_all, bdrv_activate_all). The guest has to stand still meanwhile.
 */
export async function rereadImages(qmp: Qmp, subject: string): Promise<void> {
  await qmp.execute('stop', {}, subject);
  try {
    await qmp.execute('xen-save-devices-state', { filename: '/dev/null', live: true }, subject);
  } finally {
    await qmp.execute('cont', {}, subject);
  }
}
