/** Which files this process syncs, and what stands in a folder then. */

import { type FileHandle, open, readdir, readlink } from 'node:fs/promises';

interface Sync {
  readonly path: string;
  /** The folder's files at that moment. */
  readonly files: readonly string[];
}

/** Records every fsync by a FileHandle until it is disposed of. */
export async function syncsIn(folder: string): Promise<Disposable & { readonly syncs: readonly Sync[] }> {
  const handle = await open(folder, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  const syncs: Sync[] = [];
  prototype.sync = async function (this: FileHandle) {
    await sync.call(this);
    syncs.push({ path: await readlink(`/proc/self/fd/${this.fd}`), files: await readdir(folder) });
  };
  return {
    syncs,
    [Symbol.dispose]: () => {
      prototype.sync = sync;
    },
  };
}
