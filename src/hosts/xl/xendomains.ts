/** What xendomains has saved when the host shut down, and restores when it starts: as libvirt's managed saves. */

import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** XENDOMAINS_SAVE of Xen's own configuration. */
export const XENDOMAINS_SAVE = '/var/lib/xen/save';

/** Returns the file in which xendomains has saved the domain; undefined if it has not. */
export async function savedFile(folder: string, name: string): Promise<string | undefined> {
  // xendomains saves nothing under such a name.
  if (name.includes('/')) return undefined;
  const path = join(folder, name);
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? path : undefined;
}

/** Removes it: restored later, it would overwrite what the guest writes from now on. */
export async function dropSaved(folder: string, name: string): Promise<void> {
  const path = await savedFile(folder, name);
  if (path !== undefined) await rm(path, { force: true });
}
