/** The path of the memory image that a save is asked for. */

import { LibvirtError } from '../errors.ts';
import type { LibxlDomainSnapshotArgs } from '../model/libxl.ts';

/** The file that gets the RAM; undefined if only disks are asked for. `memory` defaults to yes if there is a path. */
export function requestedMemoryPath({ memory, memory_path }: LibxlDomainSnapshotArgs): string | undefined {
  if (memory === false) return undefined;
  if (memory === true && memory_path === undefined) {
    throw new LibvirtError('INVALID_ARG', 'a snapshot with memory needs a memory_path');
  }
  return memory_path;
}
