/** Memory images that nobody can use any more. Reads only. */

import { tieState } from '../../memory/tie-state.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import type { Folders } from '../../store/default-folders.ts';
import { parseDefinition } from '../../xml/domain/definition.ts';
import { readImage } from '../libxl-json/convert.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import type { StoredItem } from './folder-contents.ts';

const SUFFIX = '.save';

/** The paths of those that no snapshot names and whose disk images hold other contents now. */
export async function brokenTies(
  memory: readonly StoredItem[],
  domains: readonly DomainFacts[],
  { memoryDir }: Folders,
): Promise<ReadonlySet<string>> {
  const used = new Set(domains.flatMap(({ snapshots }) => snapshots.flatMap((each) => each.memory?.path ?? [])));
  const broken = new Set<string>();
  for (const { path, name } of memory.flatMap(({ inside = [] }) => inside)) {
    if (used.has(path) || !name.endsWith(SUFFIX)) continue;
    const image = await readImage(path, memoryDir).catch(() => undefined);
    if (!image) continue;
    const disks = parseDefinition(image.domainXml).disks.map(libxlDeviceDisk);
    if ((await tieState({ path, name: name.slice(0, -SUFFIX.length) }, disks)) === 'broken') broken.add(path);
  }
  return broken;
}
