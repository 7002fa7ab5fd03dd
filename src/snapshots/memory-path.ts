/** Where a recorded snapshot's memory lies. */

import type { Domain } from '../model/domain.ts';
import type { SnapshotDef } from '../model/snapshot.ts';
import type { MemoryImages } from './ports.ts';

/** Where a recorded snapshot's memory lies; undefined where it has none. */
export function memoryPathOf(images: MemoryImages, { ref }: Domain, { name, memory }: SnapshotDef): string | undefined {
  if (memory.location === 'external') return memory.file;
  return memory.location === 'internal' ? images.path(ref, name) : undefined;
}
