import { type MemoryOfSnapshot, tieState } from '../memory/tie-state.ts';
import { libxlDeviceDisk } from '../model/device-disk.ts';
import type { TieState } from '../model/snapshot.ts';
import { parseDefinition } from '../xml/domain/definition.ts';

/** Host.tieState. `definition` reads the one in the memory image; if it cannot, nobody knows what the image is of. */
export async function tieStateOf(memory: MemoryOfSnapshot, definition: () => Promise<string>): Promise<TieState> {
  const xml = await definition().catch(() => undefined);
  return xml === undefined ? 'holds' : await tieState(memory, parseDefinition(xml).disks.map(libxlDeviceDisk));
}
