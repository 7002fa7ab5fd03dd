/** `xlsnap tree`: a domain's snapshots at a glance, on the terminal or as a picture. */

import { writeFile } from 'node:fs/promises';
import { systemError } from '../../errors.ts';
import { command, DOMAIN, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { protectedNames } from '../protect/protected-names.ts';
import { foldersOf, MEMORY_DIR } from '../storage/daemon-folders.ts';
import { imagesOfDisks } from '../storage/disk-images.ts';
import { domainFacts, ownBytes, type SnapshotOnDisk } from '../storage/domain-facts.ts';
import { hasColour } from '../terminal/columns.ts';
import { forest } from './ordered-tree.ts';
import { snapshotPicture } from './picture.ts';
import { treeText } from './tree-text.ts';

/** `xlsnap tree`. */
export const TREE = command({
  description:
    'Prints the tree of snapshots with state, kind, size and age; the current one is marked *, and protected ones are named so. ' +
    "The size is that of the snapshot's own files, its RAM and the layers it has created: see du for snapshots inside disk images.",
  options: [
    DOMAIN,
    { name: 'svg', type: 'string', named: true, help: 'write a picture of the tree and the disk images to this file' },
    JSON_OPTION,
    MEMORY_DIR,
  ],
  async run(values, session) {
    exclusive(values, 'svg', 'json');
    const { memoryDir } = await foldersOf(values, session);
    const domain = await session.domain(values.domain);
    const facts = await domainFacts(await session.client(), domain, memoryDir);
    const kept = await protectedNames(session, domain);
    if (values.svg !== undefined) {
      await writePicture(values.svg, snapshotPicture(facts, await imagesOfDisks(facts)));
      session.extra(
        `Picture of ${facts.snapshots.length} snapshots of domain ${facts.domain.name} written to ${values.svg}\n`,
      );
    } else if (values.json) {
      session.json({
        domain: facts.domain.name,
        uuid: facts.domain.uuid,
        state: facts.state,
        snapshots: treeJson(facts.snapshots, kept),
      });
    } else {
      const now = BigInt(Math.floor(Date.now() / 1000));
      session.draw(treeText(facts.snapshots, { now, kept, colour: hasColour(), quiet: session.quiet }));
    }
  },
});

async function writePicture(path: string, svg: string): Promise<void> {
  await writeFile(path, svg).catch((error) => {
    throw systemError(error, `cannot write file '${path}'`);
  });
}

interface TreeEntry {
  readonly [fact: string]: unknown;
  readonly children: TreeEntry[];
}

/**
 * Returns the roots with nested children. Sizes are bytes, or null if a file cannot be read; times are seconds since
 * the epoch. `kept`: the protected ones.
 */
function treeJson(snapshots: readonly SnapshotOnDisk[], kept: ReadonlySet<string>): readonly TreeEntry[] {
  const roots: TreeEntry[] = [];
  const entries: TreeEntry[] = [];
  for (const { item, parent } of forest(snapshots)) {
    const { name, state, kind, current, creationTime, memory, disks } = item;
    const entry = {
      ...{ name, state, kind, current, protected: kept.has(name) },
      creationTime: Number(creationTime),
      bytes: ownBytes(item) ?? null,
      ...(memory && { memory: memory.path }),
      disks: disks.map(({ target, image, overlay }) => ({
        target,
        image: image.path,
        ...(overlay && { overlay: overlay.path }),
      })),
      children: [],
    };
    entries.push(entry);
    (parent === undefined ? roots : (entries[parent]?.children ?? roots)).push(entry);
  }
  return roots;
}
