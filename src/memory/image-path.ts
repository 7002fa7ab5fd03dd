/** Where a memory image is. */

import { LibvirtError } from '../errors.ts';
import type { LibxlDomainSnapshotArgs } from '../model/libxl.ts';

/** Where the RAM goes, or undefined for disks alone. `memory` by default follows `memory_path`. */
export function memoryPathOf({ memory, memory_path }: LibxlDomainSnapshotArgs): string | undefined {
  if (memory === false) return undefined;
  if (memory === true && memory_path === undefined) {
    throw new LibvirtError('INVALID_ARG', 'a snapshot with memory needs a memory_path');
  }
  return memory_path;
}
