/** Gives a running guest's disk another size, through its device model. */

import { neverAborted } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import { freeChain, requireOpenedOnce } from '../qemu/block-graph.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { Qmp } from '../qemu/qmp.ts';

/** Does the work while nobody keeps the node from getting another size. */
export type Released = (socket: string, disk: string, node: string, work: () => Promise<void>) => Promise<void>;

/** Xen's block backend lets it be changed at any time. */
const always: Released = (_socket, _disk, _node, work) => work();

/** `bytes`: the new size. Refuses a disk that is open twice: only one of both would get it. Durable when it returns. */
export async function resizeDisk(
  socket: string,
  disk: string,
  image: DiskImage,
  bytes: number,
  released: Released = always,
): Promise<void> {
  const { graph, chain } = await freeChain(socket, disk, image);
  const [root] = chain;
  requireOpenedOnce(graph, disk, root);
  await released(socket, disk, root.node, async () => {
    await using qmp = await Qmp.connect(socket, neverAborted());
    await qmp.execute('block_resize', { 'node-name': root.node, size: bytes }, `disk '${disk}'`);
  });
  await syncFile(image.path);
}
