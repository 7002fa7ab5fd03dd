/** The files behind paths. */

import { statIfThere } from '../../files/answering.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import { type Domain, type DomainDisk, isActive } from '../../model/domain.ts';
import type { SnapshotContext } from '../context.ts';
import type { OfflineDisks } from '../ports/disks.ts';

/** The paths by their fileKey; of several names of one file, the first. */
export async function byFileKey(
  images: Pick<OfflineDisks, 'fileKey'>,
  paths: Iterable<string>,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const path of paths) {
    const key = await images.fileKey(path);
    if (!found.has(key)) found.set(key, path);
  }
  return found;
}

/** Paths of the images that the domain's own device model has open: the active ones, and those of their backing chains. */
export async function openImages(
  { images }: Pick<SnapshotContext, 'images'>,
  domain: Domain,
  active: Iterable<DiskImage>,
): Promise<ReadonlySet<string>> {
  if (!isActive(domain)) return new Set();
  const tops = [...active];
  const chains = await images.chains(tops);
  return new Set([...tops, ...chains.flatMap(({ layers }) => layers)].map(({ path }) => path));
}

/** The paths of the disks that are regular files: names for overlays are derived from those only. */
export async function regularFiles(disks: readonly DomainDisk[]): Promise<ReadonlySet<string>> {
  const paths = disks.flatMap(({ path }) => path ?? []);
  const found = await Promise.all(paths.map(statIfThere));
  return new Set(paths.filter((_, index) => found[index]?.isFile()));
}
