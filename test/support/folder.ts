import { readdir } from 'node:fs/promises';

/** Names in one of the daemon's folders, without its lock file; none for a folder that is not there. */
export async function contentsOf(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name !== '.xlsnapd.lock');
}
