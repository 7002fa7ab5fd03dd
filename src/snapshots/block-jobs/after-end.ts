/** Settles a block job whose guest has ended: no device model has it any more, and the images show how far it had got. */

import { LibvirtError } from '../../errors.ts';
import type { BlockJob } from '../../model/blocks/block-job.ts';
import { type DiskImage, type Move, movesOff } from '../../model/disk-image.ts';
import { type Domain, type DomainRef, isActive } from '../../model/domain.ts';
import { domainCommand, shellCommand } from '../../model/messages/shell-command.ts';
import { moveDisks } from '../chains/move-disks.ts';
import { sharedImages } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';

/** How a job has ended that nobody has seen the end of. */
export type Settled = 'completed' | 'given up';

/** The changes of the active image, if the job is finished or pivoted. */
export function movesOf(job: BlockJob): readonly Move[] {
  if (job.kind === 'copy') return [{ disk: job.disk, from: job.source, to: job.target }];
  return job.kind === 'pull' ? [] : movesOff([job.layer]);
}

/**
 * Completes a job whose result is visible in the disk's chain: the definition names the new image, the merged overlay is
 * empty, or the image above it is on the base. Gives up any other: the disk stays as it is. Refuses (55) a pivot that may
 * have been done, or not. `now`: the domain in its present state; undefined if it is gone.
 */
export async function settleJob(
  context: SnapshotContext,
  ref: DomainRef,
  now: Domain | undefined,
  job: BlockJob,
): Promise<Settled> {
  const isDone = job.kind === 'commit' ? await isMerged(context, job) : await isPivoted(context, ref, now, job);
  if (!isDone) return 'given up';
  if (now && !isActive(now)) await moveDisks(context.host, now, 'persistent', movesOf(job));
  if ('layer' in job && job.remove) await removeUnused(context, now ?? gone(ref), job);
  return 'completed';
}

type Commit = BlockJob & { readonly kind: 'commit' | 'active-commit' };

/** QEMU has written it to the header of the image above. */
async function isMerged({ images }: SnapshotContext, { layer: { above, base } }: Commit): Promise<boolean> {
  if (!above) return false;
  const [chain] = await images.chains([above]);
  return chain?.layers[1]?.key === (await images.fileKey(base.path));
}

async function isPivoted(
  context: SnapshotContext,
  ref: DomainRef,
  now: Domain | undefined,
  job: BlockJob,
): Promise<boolean> {
  const [move] = movesOf(job);
  if (!move || !('pivot' in job) || !job.pivot) return false;
  const named = now?.persistent && (await context.host.definition(now, 'persistent')).images.get(job.disk)?.path;
  if (named === move.to.path) return true;
  const isEmptied = job.kind === 'active-commit' && (await context.images.isEmptied(move.from).catch(() => false));
  // Of a guest that runs again, or is gone, nothing can be lost any more.
  if (isEmptied || !now || isActive(now) || named !== move.from.path) return isEmptied;
  throw undecided(ref, job, move);
}

function undecided(ref: DomainRef, job: BlockJob, { disk, from, to }: Move): LibvirtError {
  const edit = domainCommand({ program: 'virsh', command: 'edit', domain: ref });
  const base = shellCommand('qemu-img', 'create', '-f', from.format, '-b', to.path, '-F', to.format, from.path);
  const overlay = shellCommand('qemu-img', 'commit', from.path);
  return new LibvirtError(
    'OPERATION_INVALID',
    `domain '${ref.name}' has ended while its disk '${disk}' was pivoted from '${from.path}' to '${to.path}', and nothing shows ` +
      `which of them it has written to last: ${shellCommand('ls', '-l', '--full-time', from.path, to.path)}. Before it starts, if that is ` +
      `'${to.path}': ${job.kind === 'copy' ? edit : base}${job.kind === 'copy' ? '' : `; else: ${overlay}`}`,
  );
}

/** Neither what the domain uses, nor what somebody else does. */
async function removeUnused(context: SnapshotContext, domain: Domain, { disk, layer }: Commit): Promise<void> {
  const { host, images } = context;
  const which = [
    ...(isActive(domain) ? (['live'] as const) : []),
    ...(domain.persistent ? (['persistent'] as const) : []),
  ];
  const definitions = await Promise.all(which.map((each) => host.definition(domain, each)));
  const inUse = new Set(definitions.map(({ images: used }) => used.get(disk)?.path));
  const merged: readonly DiskImage[] = [layer.top, ...(layer.between ?? [])];
  if (merged.some(({ path }) => inUse.has(path))) return;
  const shared = await sharedImages(
    context,
    domain,
    merged.map(({ path }) => ({ path, disk })),
  );
  await images.remove(merged.filter(({ path }) => !shared.has(path)));
}

function gone(ref: DomainRef): Domain {
  return { ref: { ...ref, id: -1 }, state: 'shutoff', persistent: false };
}
