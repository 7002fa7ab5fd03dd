/** Undoing after a failure. */

import { asLibvirtError, type LibvirtError, withLeftovers } from '../errors.ts';
import type { SnapshotContext } from './context.ts';

/**
 * Runs `undo` and returns the error to throw: `error`, and if undoing fails too, with `what` is left over and why. That
 * is also logged: the client that asked may be gone.
 */
export async function undoAfterFailure(
  { log }: Pick<SnapshotContext, 'log'>,
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
