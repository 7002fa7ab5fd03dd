/** Which files this process puts on stable storage, and how things stand at that moment. */

import { type FileHandle, open, readlink } from 'node:fs/promises';

interface Sync<T> {
  readonly path: string;
  readonly seen: T;
}

/** Records every fsync by a FileHandle, with what `look` sees right after it, until it is disposed of. */
export async function recordSyncs<T>(look: () => Promise<T>): Promise<Disposable & { readonly syncs: Sync<T>[] }> {
  const handle = await open('/', 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  const syncs: Sync<T>[] = [];
  prototype.sync = async function (this: FileHandle) {
    await sync.call(this);
    syncs.push({ path: await readlink(`/proc/self/fd/${this.fd}`), seen: await look() });
  };
  return {
    syncs,
    [Symbol.dispose]: () => {
      prototype.sync = sync;
    },
  };
}
