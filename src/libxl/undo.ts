/** Undoes a save that failed: the guest runs again, its disks and the folder are as before. */

import type { LiveSnapshots } from '../disks/live-snapshots.ts';
import { asLibvirtError, type LibvirtError, withLeftovers } from '../errors.ts';
import type { PartialMemoryImage } from '../memory/partial-image.ts';
import type { Held } from './helper/protocol.ts';
import type { LibxlSession, Toolstack } from './toolstack.ts';

/** How far a save has come. */
export interface SaveState {
  held: Held;
  image?: PartialMemoryImage;
  readonly disks: LiveSnapshots;
}

/**
 * Undoes everything, guest first, and returns the error to throw: `cause`, with each thing that is left over and the
 * command that repairs it.
 */
export async function undoSave(
  toolstack: Toolstack,
  xen: LibxlSession,
  domid: number,
  state: SaveState,
  cause: unknown,
): Promise<LibvirtError> {
  const guest = await releaseGuest(toolstack, xen, domid, state.held);
  const error = await state.disks.undo(cause);
  const left = [guest, await discardImage(state.image)].filter((text) => text !== undefined);
  return withLeftovers(error, left);
}

/** By the helper that stopped it, or by a new one if that has died or failed. */
async function releaseGuest(
  toolstack: Toolstack,
  xen: LibxlSession,
  domid: number,
  held: Held,
): Promise<string | undefined> {
  if (!held.mayBeSuspended && !held.paused) return undefined;
  try {
    return whatIsLeft(domid, held, await xen.release(domid, held));
  } catch {
    try {
      await using fresh = toolstack.startHelper();
      return whatIsLeft(domid, held, await fresh.release(domid, held));
    } catch (error) {
      return `domain '${domid}' may be left stopped ('xl unpause ${domid}' if 'xl list' shows it paused, 'xl resume ${domid}' on Xen 4.20 or newer if suspended): ${asLibvirtError(error).detail}`;
    }
  }
}

/** Undefined if the guest runs; else the state that it is in, with the command that continues it. */
export function whatIsLeft(
  domid: number,
  held: Held,
  info: Awaited<ReturnType<LibxlSession['release']>>,
): string | undefined {
  if (!info) return `domain '${domid}' has ended`;
  if (info.shutdown && info.shutdown_reason === 'suspend') {
    return `domain '${domid}' is left suspended: 'xl resume ${domid}' (Xen 4.20 or newer) continues it`;
  }
  if (info.paused && held.paused) return `domain '${domid}' is left paused: 'xl unpause ${domid}' continues it`;
  return undefined;
}

async function discardImage(image: PartialMemoryImage | undefined): Promise<string | undefined> {
  try {
    await image?.discard();
    return undefined;
  } catch (error) {
    return `a memory image is left ('rm ${image?.partialPath}'): ${(error as Error).message}`;
  }
}
