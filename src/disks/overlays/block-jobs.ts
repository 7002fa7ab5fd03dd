/** Block jobs that clients ask for (virDomainBlockCommit and the like), by the device model of an active domain. */

import { neverAborted } from '../../errors.ts';
import type { BlockJob, BlockJobState } from '../../model/blocks/block-job.ts';
import { fileKey } from '../file-key.ts';
import { deleteUnused, freeChain, notServed } from '../qemu/block-graph.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { execute, type JobInfo, jobId, startCommit } from './commit-job.ts';
import { cancelCopy, copyId, finishCopy, startCopy } from './copy-job.ts';
import { commitLiveLayers, findLayer } from './live-commit.ts';

/** Starts a job, and returns when QEMU has begun it. `speed`: bytes a second at most; 0: unlimited. */
export async function startBlockJob(socket: string, job: BlockJob, speed: number): Promise<void> {
  if (job.kind === 'pull') {
    await startPull(socket, job, speed);
    return;
  }
  if (job.kind === 'copy') {
    await startCopy(socket, job, speed);
    return;
  }
  const commit = await findLayer(socket, job.layer);
  if (!commit) throw notServed(job.disk, job.layer.top);
  await startCommit(socket, commit, speed);
}

/** Undefined if QEMU does not have the job: it was never started, or is finished. */
export async function blockJobState(socket: string, job: BlockJob): Promise<BlockJobState | undefined> {
  const id = idOf(job);
  const jobs = (await execute(socket, job.disk, 'query-jobs', {})) as readonly JobInfo[];
  const found = jobs.find((each) => each.id === id);
  if (!found) return undefined;
  const blockJobs = (await execute(socket, job.disk, 'query-block-jobs', {})) as readonly {
    readonly device: string;
    readonly speed: number;
  }[];
  const speed = blockJobs.find(({ device }) => device === id)?.speed ?? 0;
  const { status, error } = found;
  return {
    state: status === 'concluded' ? 'concluded' : status === 'ready' ? 'ready' : 'running',
    done: found['current-progress'],
    total: found['total-progress'],
    speed,
    ...(error !== undefined && { error }),
  };
}

/** Bytes a second at most; 0: unlimited. */
export async function setBlockJobSpeed(socket: string, job: BlockJob, speed: number): Promise<void> {
  await execute(socket, job.disk, 'block-job-set-speed', { device: idOf(job), speed });
}

/** Has QEMU cancel the job, which then concludes: the disk is as before, except for what a pull has copied. */
export async function cancelBlockJob(socket: string, job: BlockJob): Promise<void> {
  if (job.kind === 'copy') await cancelCopy(socket, job);
  else await execute(socket, job.disk, 'job-cancel', { id: idOf(job) });
}

/** Has QEMU forget a job that has concluded with a failure. */
export async function dismissBlockJob(socket: string, job: BlockJob): Promise<void> {
  await execute(socket, job.disk, 'job-dismiss', { id: idOf(job) });
}

/**
 * Finishes a job that is ready or has succeeded. Images that the disk does not use any more are closed. `moved` is called
 * when the guest uses another active image: its definitions must name it when that has resolved. Idempotent.
 */
export async function finishBlockJob(socket: string, job: BlockJob, moved: () => Promise<void>): Promise<void> {
  if (job.kind === 'copy') {
    await finishCopy(socket, job, moved);
    return;
  }
  if (job.kind !== 'pull') {
    await commitLiveLayers({ socket, layers: [job.layer], signal: neverAborted(), progress: () => {}, merged: moved });
    return;
  }
  await syncFile(job.active.path);
  await dismissBlockJob(socket, job);
  for (const { path } of job.between) await deleteUnused(socket, job.disk, path);
}

async function startPull(socket: string, job: BlockJob & { readonly kind: 'pull' }, speed: number): Promise<void> {
  const { disk, active, base } = job;
  const { chain } = await freeChain(socket, disk, active);
  const [root] = chain;
  const baseKey = base && (await fileKey(base.path));
  const baseNode = chain.find((node) => node.key === baseKey);
  if (base && !baseNode) throw notServed(disk, base);
  await execute(socket, disk, 'block-stream', {
    'job-id': idOf(job),
    'auto-dismiss': false,
    device: root.node,
    ...(speed > 0 && { speed }),
    ...(base && { 'base-node': baseNode?.node, 'backing-file': base.path }),
  });
}

function idOf(job: BlockJob): string {
  if (job.kind === 'copy') return copyId(job);
  return job.kind === 'pull' ? jobId(`${job.disk}-pull`, job.active.path) : jobId(job.disk, job.layer.top.path);
}
