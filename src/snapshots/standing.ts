/** Looks at how a domain's images stand on each other: its definitions, its snapshots' definitions, and the image files. */

import { stat } from 'node:fs/promises';
import type { Domain } from '../model/domain.ts';
import type { DiskImage } from '../model/libxl.ts';
import { isExternal, type SnapshotDef } from '../model/snapshot.ts';
import { diskImages } from '../xml/domain-images.ts';
import type { SnapshotContext } from './context.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import { externalDisks, overlaysOf, type Standing, stateOf } from './layers.ts';

/** The domain's snapshots but for those named: each is a file to be read, and none is where there is no layer at all. */
export async function otherSnapshots(
  snapshots: DomainSnapshots,
  without: ReadonlySet<string>,
): Promise<readonly SnapshotDef[]> {
  if (!snapshots.tree.all().some(isExternal)) return [];
  const names = snapshots.tree.all().flatMap(({ name }) => (without.has(name) ? [] : [name]));
  const defs: SnapshotDef[] = [];
  for (const name of names) defs.push(await snapshots.read(name));
  return defs;
}

/** `defs`: whose images are looked at besides the domain's. Images that are not there have no image beneath them. */
export async function standingOf(
  { host, images }: Pick<SnapshotContext, 'host' | 'images'>,
  domain: Domain,
  defs: readonly SnapshotDef[],
): Promise<Standing> {
  const tips = diskImages(await host.definition(domain, 'live'));
  const next = domain.persistent ? diskImages(await host.definition(domain, 'persistent')) : tips;
  const disks = new Set(defs.flatMap(externalDisks));
  const known = [...disks].flatMap((disk) => [
    ...[tips, next].flatMap((images) => images.get(disk) ?? []),
    ...defs.flatMap((def) => stateOf(def, disk) ?? []),
    ...defs.flatMap((def) => overlaysOf(def, disk)),
  ]);
  const backing = new Map<string, DiskImage>();
  const seen = new Set<string>();
  const missing = new Set<string>();
  for (const image of known) {
    if (seen.has(image.path)) continue;
    if (await isMissing(image)) {
      missing.add(image.path);
      continue;
    }
    const chain = await images.chain(image);
    chain.forEach((layer, index) => {
      const beneath = chain[index + 1];
      seen.add(layer.path);
      if (beneath) backing.set(layer.path, beneath);
    });
  }
  return { tips, next, backing, missing };
}

async function isMissing({ path }: DiskImage): Promise<boolean> {
  return await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}
