/** After a failure: what is undone, and what the error says that is to be done. */

import { asLibvirtError, explained, hasReason, type LibvirtError, withLeftovers } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { domainCommand } from '../model/messages/shell-command.ts';

/**
 * Runs `undo` and returns the error to throw: `error`, and if undoing fails too, with `what` is left over and why. That
 * is also logged: the client that asked may be gone.
 */
export async function undoAfterFailure(
  { log }: { log(text: string): void },
  error: unknown,
  what: string,
  undo: () => Promise<void>,
): Promise<LibvirtError> {
  try {
    await undo();
    return asLibvirtError(error);
  } catch (reason) {
    const failure = withLeftovers(error, [`${what}: ${asLibvirtError(reason).detail}`]);
    log(failure.detail);
    return failure;
  }
}

/**
 * The error to throw: if the device model has ended, with the way out. Nobody serves the guest's disks any more, and only
 * when the guest is off can its images be worked on without one.
 */
export function withWayOut(error: unknown, domain: DomainRef): unknown {
  if (!hasReason(error, 'device-model-gone')) return error;
  const destroy = domainCommand({ program: 'virsh', command: 'destroy', domain });
  return explained(error, `domain '${domain.name}' has lost its device model: shut the guest off first: ${destroy}`);
}
