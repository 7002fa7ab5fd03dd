/** Has the host save an active domain, with the events for clients and the frozen file systems around that. */

import { asLibvirtError, explained } from '../../errors.ts';
import type { Domain } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { undoAfterFailure } from '../after-failure.ts';
import type { SnapshotContext } from '../context.ts';
import type { Job } from '../ports/jobs.ts';
import { leftoversOf } from './undo.ts';

/** Emits the events of the guest's pause, as the qemu driver does: not if only disks are captured. */
export async function saveActive(
  { host, events }: SnapshotContext,
  domain: Domain,
  name: string,
  args: LibxlDomainSnapshotArgs,
  flags: number,
  job: Job,
): Promise<LibxlDomainSnapshot> {
  const stops = domain.state === 'running' && args.memory === true;
  if (stops) events.emit(domain.ref, LIFECYCLE.SUSPENDED_PAUSED);
  let halts = false;
  try {
    const taken = await host.save(domain, name, args, job);
    halts = (flags & CREATE.HALT) !== 0;
    return taken;
  } finally {
    // A host that cannot be asked now does not undo what has been taken.
    const { ref } = await host.lookup(domain.ref).catch(() => domain);
    if (stops && !halts) events.emit(ref, LIFECYCLE.RESUMED_UNPAUSED);
  }
}

/** Runs work while the guest's file systems are frozen. Fails if they cannot be thawed, as the qemu driver does. */
export async function saveFrozen(
  context: SnapshotContext,
  domain: Domain,
  name: string,
  args: LibxlDomainSnapshotArgs,
  flags: number,
  job: Job,
): Promise<LibxlDomainSnapshot> {
  const frozen = await context.host.freeze(domain);
  const thaw = async (): Promise<void> => {
    try {
      await frozen[Symbol.asyncDispose]();
    } catch (error) {
      const still = `the file systems of domain '${domain.ref.name}' may still be frozen`;
      throw explained(error, `${still}: 'fsfreeze --unfreeze' in the guest thaws them`);
    }
  };
  let taken: LibxlDomainSnapshot;
  try {
    taken = await saveActive(context, domain, name, args, flags, job);
  } catch (error) {
    await thaw().catch((left) => context.log(asLibvirtError(left).message));
    throw error;
  }
  try {
    await thaw();
    return taken;
  } catch (error) {
    const internal = (args.disks ?? []).filter(({ external }) => !external);
    throw await undoAfterFailure(context, error, leftoversOf(name, internal), async () => {
      if (internal.length > 0) await context.host.deleteDiskSnapshots(domain, name, internal);
    });
  }
}
