/** The package as `npm pack` makes it of this checkout. */

import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ROOT = resolve(import.meta.dirname, '../..');

/** Packs into a folder, without a build. Returns the tarball's path, and the paths of the files in it. */
export async function pack(folder: string): Promise<{ tarball: string; paths: readonly string[] }> {
  const words = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const { stdout } = await promisify(execFile)('npm', words, { cwd: ROOT });
  // A list; since npm 12 an object, by the packages' names.
  const [packed] = Object.values<{ filename: string; files: readonly { path: string }[] }>(JSON.parse(stdout));
  if (packed === undefined) throw new Error(`npm pack has made nothing: ${stdout}`);
  return { tarball: join(folder, packed.filename), paths: packed.files.map(({ path }) => path) };
}
