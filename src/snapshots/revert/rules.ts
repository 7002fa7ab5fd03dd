/** Refuses reverts before anything is touched. */

import { explained, LibvirtError } from '../../errors.ts';
import type { Domain } from '../../model/domain.ts';
import { REVERT } from '../../model/flags.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import type { SnapshotDef } from '../../model/snapshot.ts';
import type { SnapshotContext } from '../context.ts';
import { checkNeed, needsOf } from './needs.ts';
import type { RevertibleSnapshot, RevertPlan } from './plan.ts';

/** Refuses by the domain's state and the snapshot's document: the qemu driver's checks, in its order. */
export function checkRevert(
  domain: Domain,
  snapshot: SnapshotDef,
  flags: number,
): asserts snapshot is RevertibleSnapshot {
  const hasMemory = snapshot.state === 'running' || snapshot.state === 'paused';
  if (!domain.persistent && !hasMemory && !(flags & (REVERT.RUNNING | REVERT.PAUSED))) {
    const text = 'transient domain needs to request run or pause to revert to inactive snapshot';
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  const half = snapshot.disks.find(({ deleteInProgress }) => deleteInProgress);
  if (half) {
    const text =
      `snapshot disk '${half.name}' was target of not completed snapshot delete: the image may hold later writes by now; ` +
      `run snapshot-delete of snapshot '${snapshot.name}' again`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (!snapshot.domain) {
    const text = `snapshot '${snapshot.name}' lacks domain '${domain.ref.name}' rollback info`;
    throw new LibvirtError('SNAPSHOT_REVERT_RISKY', text);
  }
  if (domain.managedSave && !hasMemory && !(flags & REVERT.FORCE)) {
    const advice = 'removal of existing managed saved state strongly recommended to avoid corruption';
    throw new LibvirtError('SNAPSHOT_REVERT_RISKY', `snapshot without memory state, ${advice}`);
  }
}

/**
 * Refuses a plan that cannot be carried out. Reads only. Until the delete of another snapshot is complete, this one's images
 * or its memory may still be on the way: the error says so.
 */
export async function checkPlan(
  context: SnapshotContext,
  domain: Domain,
  plan: RevertPlan,
  flags: number,
): Promise<void> {
  try {
    for (const need of needsOf(plan)) {
      if (need.kind === 'backing chains' && flags & REVERT.FORCE) continue;
      await checkNeed(context, domain, plan, need);
    }
  } catch (error) {
    const half = plan.others.find(({ disks }) => disks.some(({ deleteInProgress }) => deleteInProgress));
    if (!half) throw error;
    const again = virshCommand('delete', { domain: domain.ref, snapshot: half.name, flags: 0 });
    throw explained(error, `snapshot '${half.name}' is deleted in part; complete that first: ${again}`);
  }
}
