/** Layers of an active domain's disks, merged into the ones beneath through its device model while the guest goes on. */

import { LibvirtError } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { chainsOf, deleteUnused, graphOf, hasJob } from '../qemu/block-graph.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { type Commit, endCommit, findCommit, followCommit, type NodePath, runCommit } from './commit-job.ts';
import { type CommitWatch, forEachLayer, type LayersWatch } from './commit-progress.ts';
import { holdsData, imageExists, refuseSnapshotLoss, removeImage } from './overlays.ts';

interface LiveCommit extends LayersWatch {
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
  if (await findCommit(socket, disk, top.path)) {
    await followCommit(socket, disk, top.path, watch);
  } else {
    const commit = await findLayer(socket, layer);
    if (!commit) {
      await removeImage(top.path);
      return await deleteUnused(socket, disk, top.path);
    }
    await runCommit(socket, commit, watch);
  }
  // The job is kept in QEMU until the file is gone: it is what tells a merged layer from one that is still needed.
  for (const { path } of above ? [base, above] : [base]) await syncFile(path);
  await removeImage(top.path);
  await endCommit(socket, disk, top.path);
}

/**
 * The layer's nodes; undefined where there is nothing to merge. Refuses what is not as the caller thinks, or would lose
 * data.
 */
async function findLayer(socket: string, { disk, top, base, above }: LayerCommit): Promise<Commit | undefined> {
  const graph = await graphOf(socket, disk);
  const chains = chainsOf(graph);
  const refuse = (reason: string) =>
    new LibvirtError('OPERATION_INVALID', `image '${top.path}' of disk '${disk}' cannot be merged: ${reason}`);
  const chain = chains.find((each) => each.some(({ path }) => path === top.path)) ?? [];
  const at = chain.findIndex(({ path }) => path === top.path);
  const [root, topNode, baseNode] = [chain[0], chain[at], chain[at + 1]];
  if (!root || !topNode) {
    if (!(await imageExists(top.path))) return undefined;
    // An overlay that was made, and that the guest never came to write to.
    const onBase = above === undefined && chains.some((each) => each[0]?.path === base.path);
    if (onBase && !(await holdsData(top))) return undefined;
    // Merged by a commit whose end nobody has seen: the one above stands on the base already.
    if (above && chains.some((each) => isOn(each, above.path, base.path))) return undefined;
    throw refuse('the device model does not use it');
  }
  if (hasJob(root)) throw refuse('a block job is active');
  if (graph.nodes.filter(({ path }) => path === top.path).length > 1) {
    throw refuse('the guest still uses an emulated drive beside its PV disk; wait until it has loaded its PV drivers');
  }
  if (baseNode?.path !== base.path) throw refuse(`the image beneath it is '${baseNode?.path}', not '${base.path}'`);
  if ((at === 0) !== (above === undefined)) throw refuse(`the guest writes to '${root.path}'`);
  refuseSnapshotLoss(disk, top.path, topNode.snapshots);
  return { disk, root: root.node, top: topNode, base: baseNode };
}

function isOn(chain: readonly NodePath[], path: string, beneath: string): boolean {
  return chain.some((node, index) => node.path === path && chain[index + 1]?.path === beneath);
}
