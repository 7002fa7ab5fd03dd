/** Which contents a disk's snapshot has, without reading them. */

import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { groupByBackend } from './backends.ts';

/** A sorted line per disk (`xvda qcow2 ...`), the same as long as the contents of the snapshot `name` are the same. */
export async function contentsOf(name: string, disks: readonly LibxlDiskSnapshot[]): Promise<readonly string[]> {
  const groups = await groupByBackend(disks);
  const lines = groups.flatMap(({ backend, disks }) =>
    disks.map(async (snapshot) => `${snapshot.disk.vdev} ${backend.name} ${await backend.fingerprint(name, snapshot)}`),
  );
  return (await Promise.all(lines)).sort();
}
