/** Looks at how a domain's images stand on each other: its definitions, its snapshots' definitions, and the image files. */

import { stat } from 'node:fs/promises';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import { isExternal, type SnapshotDef } from '../../model/snapshot.ts';
import type { Looking } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { byFileKey } from './files.ts';
import { externalDisks, overlaysOf, type Standing, stateOf } from './snapshot-images.ts';

/**
 * The domain's snapshots, where one of them has a layer, or `unlayered` ones are asked for, too; else none: each is a file
 * to be read. `besides`: the one that is left out.
 */
export async function layeredSnapshots(
  snapshots: DomainSnapshots,
  { besides, unlayered = false }: { readonly besides?: string; readonly unlayered?: boolean } = {},
): Promise<readonly SnapshotDef[]> {
  if (!unlayered && !snapshots.tree.all().some(isExternal)) return [];
  const names = snapshots.tree.all().flatMap(({ name }) => (name === besides ? [] : [name]));
  const defs: SnapshotDef[] = [];
  for (const name of names) defs.push(await snapshots.read(name));
  return defs;
}

/**
 * `defs`: whose images are looked at besides the domain's. Images that are not there have no image beneath them. A header
 * may still name an overlay that an interrupted delete has merged; other names of a file are those of the definitions.
 */
export async function standingOf(
  { host, images }: Looking,
  domain: Domain,
  defs: readonly SnapshotDef[],
): Promise<Standing> {
  const { images: tips } = await host.definition(domain, 'live');
  const next = domain.persistent ? (await host.definition(domain, 'persistent')).images : tips;
  const disks = new Set(defs.flatMap(externalDisks));
  const known = [...disks].flatMap((disk) => [
    ...[tips, next].flatMap((images) => images.get(disk) ?? []),
    ...defs.flatMap((def) => stateOf(def, disk) ?? []),
    ...defs.flatMap((def) => overlaysOf(def, disk)),
  ]);
  const missing = new Set<string>();
  for (const image of known) if (await isMissing(image)) missing.add(image.path);
  const overlays = [...disks].flatMap((disk) => defs.flatMap((def) => overlaysOf(def, disk)));
  const merged = new Set(overlays.flatMap(({ path }) => (missing.has(path) ? [path] : [])));
  const there = known.filter(({ path }) => !missing.has(path));
  return { tips, next, backing: await backingOf(images, there, { merged }), missing };
}

/**
 * The image beneath, by path, of these and all that they stand on. `merged`: paths that are not there, and may be named.
 * Other names of a file that is among `names` (by default these images) are theirs.
 */
export async function backingOf(
  images: Looking['images'],
  known: readonly DiskImage[],
  { merged, names = known }: { readonly merged?: ReadonlySet<string>; readonly names?: readonly DiskImage[] } = {},
): Promise<ReadonlyMap<string, DiskImage>> {
  const named = await byFileKey(
    images,
    names.map(({ path }) => path),
  );
  const backing = new Map<string, DiskImage>();
  const seen = new Set<string>();
  for (const image of known) {
    if (seen.has(image.path)) continue;
    const [top = image, ...beneath] = await images.chain(image, merged);
    let above = top;
    for (const layer of beneath) {
      const here = { ...layer, path: named.get(await images.fileKey(layer.path)) ?? layer.path };
      seen.add(above.path);
      backing.set(above.path, here);
      above = here;
    }
    seen.add(above.path);
  }
  return backing;
}

async function isMissing({ path }: DiskImage): Promise<boolean> {
  return await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}
