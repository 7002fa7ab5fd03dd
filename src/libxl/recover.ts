/** After a crash of the daemon: lets the guest of an interrupted domainSnapshotSave run again. */

import { LibvirtError } from '../errors.ts';
import { XEN } from './toolstack.ts';
import { whatIsLeft } from './undo.ts';

/** The phases in which the save may have paused the guest. */
const PAUSES: ReadonlySet<string> = new Set(['suspended', 'paused', 'disks-done']);

/**
 * `phase` is the last one that the save announced. Resumes a guest that is suspended, and unpauses one that the save may
 * have paused; leaves a running one alone. Rejects (OPERATION_FAILED) with the command that helps if the guest stays stopped.
 */
export async function domainSnapshotRecover(domid: number, phase: string, toolstack = XEN): Promise<void> {
  await using xen = toolstack.startHelper();
  const held = { mayBeSuspended: true, paused: PAUSES.has(phase) };
  const left = whatIsLeft(domid, held, await xen.release(domid, held));
  if (left !== undefined) throw new LibvirtError('OPERATION_FAILED', left);
}
