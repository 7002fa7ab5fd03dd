import { isLibvirtError } from '../errors.ts';
import { REVERT } from '../model/flags.ts';
import type { SnapshotCalls, SnapshotRef } from '../rpc/client/snapshots.ts';
import type { RevertRequest } from './api.ts';
import { revertFlags } from './flags.ts';

/** Sends the flag of force only after a refusal: servers that never refuse may not know it. */
export async function revertTo(snapshots: SnapshotCalls, ref: SnapshotRef, request: RevertRequest): Promise<void> {
  const flags = revertFlags(request);
  try {
    await snapshots.revert(ref, flags);
  } catch (error) {
    if (!request.force || !isLibvirtError(error, 'SNAPSHOT_REVERT_RISKY')) throw error;
    await snapshots.revert(ref, flags | REVERT.FORCE);
  }
}
