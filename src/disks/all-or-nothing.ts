import { undoAll } from '../errors.ts';

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
