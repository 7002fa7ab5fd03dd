/**
 * Reads the backing chains of a domain's images: from its definitions, its snapshots' definitions, and the image files.
 */

import { stat } from 'node:fs/promises';
import { hasReason } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import { isExternal, type SnapshotDef } from '../../model/snapshot.ts';
import type { Looking } from '../context.ts';
import type { DomainSnapshots } from '../domain-snapshots.ts';
import { byFileKey } from './files.ts';
import { externalDisks, overlaysOf, type Standing, stateOf } from './snapshot-images.ts';

/**
 * Returns the domain's snapshots if one of them has an overlay, or if `unlayered` is set; else none, to save reading
 * their files. `besides`: the one that is left out.
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
 * `defs`: the snapshots whose images are read besides the domain's. A missing image has no base. A header may still
 * name an overlay that an interrupted delete has merged. A file that has several names is named as in the definitions.
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
  return { tips, next, backing: await backingOf(images, there, { merged, names: known }), missing };
}

/**
 * Returns the base, by path, of every image in the backing chains of these. Refuses a chain that cannot be followed.
 * `merged`: missing paths that headers may still name. A file that is among `names` (by default these images) is named as
 * there.
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
  for (const { layers, broken } of await images.chains(known)) {
    let above: DiskImage | undefined = layers[0];
    for (const { key, ...layer } of layers.slice(1)) {
      const here = { ...layer, path: named.get(key) ?? layer.path };
      if (above) backing.set(above.path, here);
      above = here;
    }
    if (!broken) continue;
    const gone = named.get(await images.fileKey(broken.image.path)) ?? broken.image.path;
    if (!merged?.has(gone) || !hasReason(broken.error, 'image-missing')) throw broken.error;
    if (above) backing.set(above.path, { path: gone, format: broken.image.format });
  }
  return backing;
}

async function isMissing({ path }: DiskImage): Promise<boolean> {
  return await stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}
