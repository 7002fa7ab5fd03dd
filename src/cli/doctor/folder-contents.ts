/** Lists the daemon's folders as plain data. */

import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemError } from '../../errors.ts';
import { isMissing } from '../../store/atomic-file.ts';
import { LOCK_FILE } from '../../store/folder-lock.ts';
import { STAT_BLOCK_BYTES } from '../storage/domain-facts.ts';

/** A file or folder. */
export interface StoredItem {
  readonly path: string;
  readonly name: string;
  /** Allocated bytes, of the file or folder itself. */
  readonly bytes: number;
  /** Time of the last change, milliseconds since the epoch. */
  readonly changed: number;
  /** The contents of a folder; undefined for anything else. */
  readonly inside: readonly StoredItem[] | undefined;
}

/** Returns the contents of a folder without the daemon's lock, sorted by name, down to `depth` levels. A missing folder counts as empty. */
export async function storedItems(folder: string, depth: number): Promise<readonly StoredItem[]> {
  const names = await readdir(folder).catch((error) => {
    if (isMissing(error)) return [];
    throw systemError(error, `cannot read folder '${folder}'`);
  });
  const items = names
    .filter((name) => name !== LOCK_FILE)
    .sort()
    .map(async (name): Promise<StoredItem | undefined> => {
      const path = join(folder, name);
      const found = await lstat(path).catch(() => undefined);
      if (!found) return undefined;
      const inside = found.isDirectory() ? (depth > 1 ? await storedItems(path, depth - 1) : []) : undefined;
      return { path, name, bytes: found.blocks * STAT_BLOCK_BYTES, changed: found.mtimeMs, inside };
    });
  return (await Promise.all(items)).filter((item) => item !== undefined);
}

/** Of one file, links followed; undefined if it cannot be looked at. */
export async function allocatedBytes(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found && found.blocks * STAT_BLOCK_BYTES;
}
