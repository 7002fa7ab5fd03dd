/** Plans virDomainBlockPull and virDomainBlockRebase: the data of backing images is copied into the active one. */

import { LibvirtError } from '../../errors.ts';
import type { BlockJob } from '../../model/blocks/block-job.ts';
import type { Domain } from '../../model/domain.ts';
import { PULL } from '../../model/flags.ts';
import type { SnapshotContext } from '../context.ts';
import { imageInChain, invalid, readDiskChain } from './chain.ts';
import { plain } from './plan-commit.ts';

/** The arguments of the call besides the domain. `base`: the image that stays the backing image; absent: none does. */
export interface PullRequest {
  readonly disk: string;
  readonly base: string | undefined;
  readonly flags: number;
}

/** Returns the job. No image but the active one is written to, so no snapshot loses anything. Reads only. */
export async function planPull(
  context: SnapshotContext,
  domain: Domain,
  { disk: name, base: baseName, flags }: PullRequest,
): Promise<BlockJob> {
  if (flags & PULL.RELATIVE && baseName === undefined) {
    throw invalid('flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base');
  }
  const chain = await readDiskChain(context, domain, name, 'pulled into');
  const { disk, layers } = chain;
  const [active] = layers;
  const base = baseName === undefined ? undefined : await imageInChain(context, chain, baseName, active);
  if (flags & PULL.RELATIVE) throw new LibvirtError('OPERATION_INVALID', "can't keep relative backing relationship");
  const between = layers.slice(1, base ? layers.indexOf(base) : undefined).map(plain);
  return { kind: 'pull', disk, active: plain(active), between, ...(base && { base: plain(base) }) };
}
