/**
 * Disks that QEMU has open twice: an HVM guest's, as emulated drive and as PV disk, until its PV drivers unplug the drive.
 * Each of the two has the image's tables in memory, and would overwrite a snapshot that only the other knows of.
 */

import type { Qmp } from './qmp.ts';

/**
 * Makes QEMU read all its images again, as it does when a guest continues after a failed migration: the images are
 * inactivated and activated again (bdrv_inactivate_all, bdrv_activate_all). The guest must be paused.
 */
export async function rereadImages(qmp: Qmp, subject: string): Promise<void> {
  await qmp.execute('stop', {}, subject);
  try {
    await qmp.execute('xen-save-devices-state', { filename: '/dev/null', live: true }, subject);
  } finally {
    await qmp.execute('cont', {}, subject);
  }
}
