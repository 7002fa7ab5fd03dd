/** Merges overlays of an active domain's disks into their bases, through its device model, while the guest runs. */

import { hasReason, LibvirtError } from '../../errors.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { fileKey } from '../file-key.ts';
import { requireOpenImages } from '../open-files.ts';
import { chainsOf, deleteUnused, graphOf, hasJob, isOpenedTwice } from '../qemu/block-graph.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { type Commit, dismissCommit, findCommit, followCommit, type NodePath, runCommit } from './commit-job.ts';
import { type CommitWatch, forEachLayer, type LayersWatch } from './commit-progress.ts';
import { EmptyOverlay } from './empty-overlay.ts';
import { holdsData, imageExists, refuseSnapshotLoss } from './overlays.ts';

interface LiveCommit extends LayersWatch {
  /** QMP socket of the domain's device model. */
  readonly socket: string;
  readonly layers: readonly LayerCommit[];
}

/**
 * Merges one layer after the other. A layer whose file is gone or empty is done, and a commit that an earlier call has
 * started is waited for: after an interruption the same call completes the merges.
 */
export async function commitLiveLayers({ socket, layers, ...watch }: LiveCommit): Promise<void> {
  await forEachLayer(layers, watch, (layer, each) => commitLayer(socket, layer, each));
}

/** Refuses layers, none of which is another's base, that commitLiveLayers could not merge. Reads only. */
export async function checkLiveLayers(socket: string, layers: readonly LayerCommit[]): Promise<void> {
  for (const layer of layers) {
    if (!(await findCommit(socket, layer.disk, layer.top.path))) await findLayer(socket, layer);
  }
}

async function commitLayer(socket: string, layer: LayerCommit, watch: CommitWatch): Promise<void> {
  const { disk, top, base, above, between = [] } = layer;
  const isUnderWay = (await findCommit(socket, disk, top.path)) !== undefined;
  const commit = isUnderWay ? undefined : await findLayer(socket, layer);
  if (!isUnderWay && !commit) {
    await deleteUnused(socket, disk, top.path);
    await watch.merged(layer);
    return;
  }
  await using empty = above || !(await imageExists(top.path)) ? undefined : await EmptyOverlay.prepare(layer);
  if (commit) await runCommit(socket, commit, watch);
  else await followCommit(socket, disk, top.path, watch);
  for (const { path } of above ? [base, above] : [base]) await syncFile(path);
  // As long as the job is in QEMU it shows that the layer is merged; later the header above does, or an empty overlay.
  await unlessGone(async () => {
    if (above) await dismissCommit(socket, disk, top.path);
    for (const { path } of [top, ...between]) await deleteUnused(socket, disk, path);
  });
  await empty?.takePlace();
  if (!above) await unlessGone(() => dismissCommit(socket, disk, top.path));
  await watch.merged(layer);
}

/**
 * Cleans up in a device model, which may have ended with its guest: that has written to the base by then, and must not be
 * started on the overlay as it was.
 */
async function unlessGone(cleanUp: () => Promise<void>): Promise<void> {
  try {
    await cleanUp();
  } catch (error) {
    if (!hasReason(error, 'device-model-gone')) throw error;
  }
}

/**
 * The layer's nodes; undefined if there is nothing to merge. Refuses images that are not as the caller expects, and a merge
 * that would lose data.
 */
export async function findLayer(
  socket: string,
  { disk, top, base, above, between = [] }: LayerCommit,
): Promise<Commit | undefined> {
  const graph = await graphOf(socket, disk);
  const chains = chainsOf(graph);
  const refuse = (reason: string) =>
    new LibvirtError('OPERATION_INVALID', `image '${top.path}' of disk '${disk}' cannot be merged: ${reason}`);
  const [topKey, baseKey] = [await fileKey(top.path), await fileKey(base.path)];
  const chain = chains.find((each) => each.some(({ key }) => key === topKey)) ?? [];
  const at = chain.findIndex(({ key }) => key === topKey);
  const [root, topNode, baseNode] = [chain[0], chain[at], chain[at + 1 + between.length]];
  if (!root || !topNode) {
    if (!(await imageExists(top.path))) return undefined;
    // An overlay that was made, but never became the active image.
    const onBase = above === undefined && chains.some((each) => each[0]?.key === baseKey);
    if (onBase && !(await holdsData(top))) return undefined;
    // A commit has merged it, but nobody has seen the end: the base is already the backing image of the one above.
    const aboveKey = above && (await fileKey(above.path));
    if (chains.some((each) => isBackedBy(each, aboveKey, baseKey))) return undefined;
    throw refuse('the device model does not use it');
  }
  if (hasJob(root)) throw refuse('a block job is active');
  if (isOpenedTwice(graph, topNode)) {
    throw refuse('the guest still uses an emulated drive beside its PV disk; wait until it has loaded its PV drivers');
  }
  if (baseNode?.key !== baseKey) throw refuse(`its backing image is '${baseNode?.path}', not '${base.path}'`);
  if ((at === 0) !== (above === undefined)) throw refuse(`the guest writes to '${root.path}'`);
  refuseSnapshotLoss(disk, top.path, topNode.snapshots);
  await requireOpenImages(
    socket,
    [top, ...between, base].map(({ path }) => ({ disk, path })),
  );
  // The names of the caller, not of the headers: the header above gets the base's, and the job is found by the top's.
  const named = ({ node }: NodePath, { path }: DiskImage): NodePath => ({ node, path });
  return { disk, root: root.node, top: named(topNode, top), base: named(baseNode, base) };
}

function isBackedBy(chain: readonly { readonly key: string }[], key: string | undefined, backing: string): boolean {
  return chain.some((node, index) => node.key === key && chain[index + 1]?.key === backing);
}
