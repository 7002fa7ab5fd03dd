/** What an error says when undoing has failed, too. */

import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import type { SnapshotContext } from './context.ts';

/** Takes something back after a failure; where that fails, too, the error says so. */
export async function alsoOnFailure(
  { log }: SnapshotContext,
  error: unknown,
  disks: readonly LibxlDiskSnapshot[],
  undo: () => Promise<void>,
): Promise<void> {
  try {
    await undo();
  } catch (left) {
    const { code, detail } = asLibvirtError(error);
    const overlays = disks.flatMap(({ external_path }) => external_path ?? []).map((path) => `'${path}'`);
    const what = overlays.length > 0 ? `${overlays.join(', ')} may be left behind` : 'its data is left behind';
    const text = `${detail}; and ${what}: ${asLibvirtError(left).detail}`;
    // Whoever has asked may have gone.
    log(text);
    throw new LibvirtError(code, text, { cause: error });
  }
}
