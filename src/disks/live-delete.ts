/** Deletes snapshots from the disks of an active domain. */

import { groupByBackend } from './backends.ts';
import type { LiveDisks } from './storage-backend.ts';

/** One disk after the other. Skips snapshots that are already gone, so after a failure the call can be repeated. */
export async function deleteLiveSnapshots(live: LiveDisks): Promise<void> {
  for (const { backend, disks } of await groupByBackend(live.disks)) {
    await (backend.qemu ? backend.qemu.delete(live, disks) : backend.delete(live.name, disks));
  }
}
