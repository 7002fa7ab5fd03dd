import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageDaemon } from '../../../src/hosts/embedded/storage-daemon.ts';
import { domainSnapshotSave, type SaveOptions } from '../../../src/libxl/save.ts';
import type { LibxlDomainSnapshotArgs } from '../../../src/model/libxl.ts';
import { disk, newImage, scratchFolder } from '../hosts/embedded.ts';
import { FakeXen } from './fake-xen.ts';

export const XML = "<domain type='xen'><name>vm</name></domain>";

/** A guest whose disks are served by a real QEMU block layer. */
export async function guest() {
  const folder = await scratchFolder();
  const images = [join(folder.path, 'a.qcow2'), join(folder.path, 'b.qcow2')] as const;
  for (const image of images) await newImage(image);
  const disks = [disk('xvda', images[0]), disk('xvdb', images[1])];
  const daemon = await StorageDaemon.start(
    folder.path,
    1,
    disks.map((each) => each.disk),
  );
  const xen = new FakeXen();
  xen.qmpSocket = daemon.qmpSocket;
  const memory_path = join(folder.path, 's1.save');
  const args: LibxlDomainSnapshotArgs = { memory: true, memory_path, disks };
  return {
    ...{ xen, args, disks, images, memory_path, daemon, folder: folder.path },
    save: (options: Partial<SaveOptions> = {}, change: Partial<LibxlDomainSnapshotArgs> = {}) =>
      domainSnapshotSave(xen.domid, 's1', { ...args, ...change }, { ...quiet(), ...options }, xen),
    files: async () => (await readdir(folder.path)).filter((file) => file.includes('.save')),
    [Symbol.asyncDispose]: async () => {
      await daemon[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export function quiet(): SaveOptions {
  return { domainXml: XML, signal: new AbortController().signal, phase: async () => {}, progress: () => {} };
}
