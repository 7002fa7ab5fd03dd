import { doneInPart, undoAll } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';

/** Undoes one thing that was made. */
export type UndoStep = () => Promise<void>;

/**
 * Makes each item in turn; `make` returns the steps that undo it. If one fails, the earlier ones are undone, and the error
 * says what is left over. Returns the steps that undo them all, latest last.
 */
export async function allOrNothing<T>(
  items: readonly T[],
  make: (item: T) => Promise<readonly UndoStep[]>,
): Promise<readonly UndoStep[]> {
  const made: UndoStep[] = [];
  try {
    for (const item of items) made.push(...(await make(item)));
    return made;
  } catch (error) {
    throw await undoAll(made, error);
  }
}

/**
 * Deletes a snapshot from one part of its disks after the other. Deleted contents cannot be put back: if a part fails, the
 * error names the disks that are done, and the same call deletes the rest.
 */
export async function deleteInTurn<T extends { readonly disks: readonly LibxlDiskSnapshot[] }>(
  parts: readonly T[],
  remove: (part: T) => Promise<void>,
): Promise<void> {
  const done: string[] = [];
  for (const part of parts) {
    try {
      await remove(part);
    } catch (error) {
      throw done.length === 0 ? error : doneInPart(error, `it is deleted from disk ${done.join(', ')} already`);
    }
    done.push(...part.disks.map(({ disk }) => `'${disk.vdev}'`));
  }
}
