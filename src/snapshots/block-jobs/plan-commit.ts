/** Plans virDomainBlockCommit: which images are merged, and what refuses it. Reads only. */

import { LibvirtError } from '../../errors.ts';
import type { BlockJob } from '../../model/blocks/block-job.ts';
import type { ChainLayer, DiskImage, LayerCommit } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import { COMMIT } from '../../model/flags.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import { layeredSnapshots } from '../chains/read-chains.ts';
import { checkNotShared } from '../chains/shared-images.ts';
import { locationOf, stateOf } from '../chains/snapshot-images.ts';
import type { SnapshotContext } from '../context.ts';
import { type DiskChain, imageInChain, invalid, readDiskChain } from './chain.ts';

/** The arguments of virDomainBlockCommit besides the domain. */
export interface CommitRequest {
  /** A target or a path. */
  readonly disk: string;
  readonly top: string | undefined;
  readonly base: string | undefined;
  readonly flags: number;
}

/** Returns the job. Refuses it in the qemu driver's words, and if a snapshot or somebody else needs one of the images. */
export async function planCommit(
  context: SnapshotContext,
  domain: Domain,
  { disk: name, top: topName, base: baseName, flags }: CommitRequest,
): Promise<BlockJob> {
  const chain = await readDiskChain(context, domain, name, 'committed');
  const { disk, layers } = chain;
  const [active] = layers;
  const top = topName === undefined || topName === disk ? active : await imageInChain(context, chain, topName);
  const at = layers.indexOf(top);
  const below = layers[at + 1];
  const shallow = (flags & COMMIT.SHALLOW) !== 0;
  if (!below) throw invalid(`top '${top.path}' in chain for '${active.path}' has no backing file`);
  const base = baseName === undefined && shallow ? below : await imageInChain(context, chain, baseName, top);
  checkActive(chain, top, flags);
  if (shallow && base !== below) {
    throw invalid(`base '${base.path}' is not immediately below '${top.path}' in chain for '${active.path}'`);
  }
  if (flags & COMMIT.RELATIVE && top !== active) {
    throw new LibvirtError('OPERATION_INVALID', "can't keep relative backing relationship");
  }
  const between = layers.slice(at + 1, layers.indexOf(base));
  const above = layers[at - 1];
  const layer: LayerCommit = {
    ...{ disk, top: plain(top), base: plain(base) },
    ...(above && { above: plain(above) }),
    ...(between.length > 0 && { between: between.map(plain) }),
  };
  await checkNeeded(context, domain, chain, [top, ...between, base]);
  await checkNotShared(
    context,
    domain,
    [top, ...between, base].map(({ path }) => ({ path, disk })),
  );
  const merges = [top, ...between].map((each) => ({ ...layer, top: plain(each) }));
  await context.images.checkMerge(merges, new Set(layers.map(({ path }) => path)));
  const kind = top === active ? 'active-commit' : 'commit';
  return { kind, disk, layer, remove: (flags & COMMIT.DELETE) !== 0 };
}

function checkActive({ disk, layers: [active] }: DiskChain, top: ChainLayer, flags: number): void {
  const asked = (flags & COMMIT.ACTIVE) !== 0;
  if (top === active && !asked) throw invalid(`commit of '${disk}' active layer requires active flag`);
  if (top !== active && asked) throw invalid(`active commit requested but '${top.path}' is not active`);
}

/**
 * Refuses (55) to change an image that is the state of an external snapshot, or that is below it: reverting to the snapshot
 * would show later writes.
 */
async function checkNeeded(
  { images, snapshotsOf }: SnapshotContext,
  { ref }: Domain,
  { disk }: DiskChain,
  touched: readonly ChainLayer[],
): Promise<void> {
  const snapshots = await snapshotsOf(ref);
  const states = (await layeredSnapshots(snapshots)).flatMap((def) => {
    const image = locationOf(def, disk) === 'external' ? stateOf(def, disk) : undefined;
    return image ? [{ name: def.name, image }] : [];
  });
  const chains = await images.chains(states.map(({ image }) => image));
  for (const [index, { name }] of states.entries()) {
    const keys = new Set(chains[index]?.layers.map(({ key }) => key));
    const needed = touched.find(({ key }) => keys.has(key));
    if (!needed) continue;
    const command = virshCommand('delete', { domain: ref, snapshot: name, flags: 0 });
    throw new LibvirtError(
      'OPERATION_INVALID',
      `image '${needed.path}' of disk '${disk}' is needed by snapshot '${name}' of domain '${ref.name}', and a commit would ` +
        `change it: deleting the snapshot merges its overlays: ${command}`,
    );
  }
}

/** Without what only the reader of chains needs. */
export function plain({ path, format, block }: DiskImage): DiskImage {
  return { path, format, ...(block && { block }) };
}
