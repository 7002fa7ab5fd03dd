/** Whether two paths are one file: links and odd spellings do not make two of it. */

import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DomainDisk } from '../../model/domain.ts';

/** The same for all names of one file or device; a file that is not there is one of its folder. */
export async function fileKey(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found) {
    const folder = dirname(path);
    return join(await realpath(folder).catch(() => folder), basename(path));
  }
  return found.isBlockDevice() ? `device ${found.rdev}` : `${found.dev} ${found.ino}`;
}

/** By the keys of these paths. */
export async function byFileKey(paths: Iterable<string>): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const path of paths) {
    const key = await fileKey(path);
    if (!found.has(key)) found.set(key, path);
  }
  return found;
}

/** Paths of the disks behind which there is a regular file: names for overlays are made of those. */
export async function regularFiles(disks: readonly DomainDisk[]): Promise<ReadonlySet<string>> {
  const paths = disks.flatMap(({ path }) => path ?? []);
  const found = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return new Set(paths.filter((_, index) => found[index]?.isFile()));
}
