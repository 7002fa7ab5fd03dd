/** Layers of an active domain's disks, merged into the ones beneath through its device model while the guest goes on. */

import { LibvirtError } from '../errors.ts';
import type { LayerCommit } from '../model/libxl.ts';
import { endCommit, findCommit, followCommit, runCommit } from './commit-job.ts';
import { type CommitWatch, forEachLayer, type LayersWatch } from './layers.ts';
import { type BlockGraph, chainOf, graphOf, hasJob, type ImageNode } from './nodes.ts';
import { imageExists, refuseSnapshotLoss, removeImage } from './overlays.ts';
import { syncFile } from './qemu-img.ts';

export interface LiveCommit extends LayersWatch {
  /** QMP socket of the domain's device model. */
  readonly socket: string;
  readonly layers: readonly LayerCommit[];
}

/**
 * One layer after the other; the file of each is gone when it is merged. A layer whose file is gone is done, and one that
 * QEMU is still at, or has ended since, is taken up again: after an interruption the same call goes on.
 */
export async function commitLiveLayers({ socket, layers, ...watch }: LiveCommit): Promise<void> {
  await forEachLayer(layers, watch, (layer, each) => commitLayer(socket, layer, each));
}

async function commitLayer(socket: string, layer: LayerCommit, watch: CommitWatch): Promise<void> {
  const { disk, top, base, above } = layer;
  const graph = await graphOf(socket, disk);
  if (await findCommit(socket, disk, top.path)) {
    const node = graph.nodes.find((each) => each.path === top.path && !hasJob(each))?.node ?? '';
    await followCommit(socket, disk, { node, path: top.path }, watch);
  } else {
    const found = await findLayer(graph, layer);
    if (!found) return;
    await runCommit(socket, { disk, root: found.root.node, top: found.top, base: found.base }, watch);
  }
  // The job is kept in QEMU until the file is gone: it is what tells a merged layer from one that is still needed.
  for (const { path } of above ? [base, above] : [base]) await syncFile(path);
  await removeImage(top.path);
  await endCommit(socket, disk, top.path);
}

/** The layer's nodes; undefined where it has been merged and removed already. */
async function findLayer(
  graph: BlockGraph,
  { disk, top, base, above }: LayerCommit,
): Promise<Readonly<Record<'root' | 'top' | 'base', ImageNode>> | undefined> {
  const chains = graph.attached
    .flatMap(({ node }) => graph.nodes.filter((each) => each.node === node))
    .map((root) => chainOf(graph, root))
    .filter((chain) => chain.some(({ path }) => path === top.path));
  const opened = graph.nodes.filter(({ path }) => path === top.path);
  const refuse = (reason: string) =>
    new LibvirtError('OPERATION_INVALID', `image '${top.path}' of disk '${disk}' cannot be merged: ${reason}`);
  if (opened.length === 0 && !(await imageExists(top.path))) return undefined;
  const chain = chains[0] ?? [];
  const at = chain.findIndex(({ path }) => path === top.path);
  const [root, topNode, baseNode] = [chain[0], chain[at], chain[at + 1]];
  if (!root || !topNode) throw refuse('the device model does not use it');
  if (opened.length > 1 || hasJob(root)) {
    throw refuse(
      'the device model has opened it twice (as an emulated drive beside the PV disk), or a block job is active',
    );
  }
  if (baseNode?.path !== base.path) throw refuse(`the image beneath it is '${baseNode?.path}', not '${base.path}'`);
  if ((at === 0) !== (above === undefined)) throw refuse(`the guest writes to '${root.path}'`);
  refuseSnapshotLoss(disk, top.path, topNode.snapshots);
  return { root, top: topNode, base: baseNode };
}
