/** Deletes snapshots from the disks of an active domain. */

import { deleteInTurn } from './all-or-nothing.ts';
import { eachAlone, groupByBackend } from './backends.ts';
import type { LiveDisks } from './storage-backend.ts';

/** One disk after the other. Skips snapshots that are already gone, so after a failure the call can be repeated. */
export async function deleteLiveSnapshots(live: LiveDisks): Promise<void> {
  const groups = await groupByBackend(live.disks);
  const parts = groups.flatMap((group) => (group.backend.qemu ? [group] : eachAlone(group)));
  await deleteInTurn(parts, ({ backend, disks }) =>
    backend.qemu ? backend.qemu.delete(live, disks) : backend.delete(live.name, disks),
  );
}
