/** Block jobs that clients ask for (virDomainBlockCommit and the like), by the device model of an active domain. */

import { LibvirtError, neverAborted } from '../../errors.ts';
import type { BlockJob, BlockJobState } from '../../model/blocks/block-job.ts';
import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import { fileKey } from '../file-key.ts';
import { chainsOf, deleteUnused, graphOf, hasJob } from '../qemu/block-graph.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { execute, type JobInfo, jobId, startCommit } from './commit-job.ts';
import { commitLiveLayers, findLayer } from './live-commit.ts';

/** Starts a job, and returns when QEMU has begun it. `speed`: bytes a second at most; 0: unlimited. */
export async function startBlockJob(socket: string, job: BlockJob, speed: number): Promise<void> {
  if (job.kind === 'pull') {
    await startPull(socket, job, speed);
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
  await execute(socket, job.disk, 'job-cancel', { id: idOf(job) });
}

/** Has QEMU forget a job that has concluded with a failure. */
export async function dismissBlockJob(socket: string, job: BlockJob): Promise<void> {
  await execute(socket, job.disk, 'job-dismiss', { id: idOf(job) });
}

/**
 * Finishes a job that is ready or has succeeded. Images that the disk does not use any more are closed. `merged`: see
 * CommitWatch. Idempotent.
 */
export async function finishBlockJob(
  socket: string,
  job: BlockJob,
  merged: (layer: LayerCommit) => Promise<void>,
): Promise<void> {
  if (job.kind !== 'pull') {
    await commitLiveLayers({ socket, layers: [job.layer], signal: neverAborted(), progress: () => {}, merged });
    return;
  }
  await syncFile(job.active.path);
  await dismissBlockJob(socket, job);
  for (const { path } of job.between) await deleteUnused(socket, job.disk, path);
}

async function startPull(socket: string, job: BlockJob & { readonly kind: 'pull' }, speed: number): Promise<void> {
  const { disk, active, base } = job;
  const key = await fileKey(active.path);
  const chain = chainsOf(await graphOf(socket, disk)).find(([root]) => root?.key === key);
  const [root] = chain ?? [];
  if (!chain || !root || hasJob(root)) throw notServed(disk, active);
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
  return job.kind === 'pull' ? jobId(`${job.disk}-pull`, job.active.path) : jobId(job.disk, job.layer.top.path);
}

function notServed(disk: string, { path }: DiskImage): LibvirtError {
  const text = `the device model does not use image '${path}' of disk '${disk}', or a job works on it`;
  return new LibvirtError('OPERATION_INVALID', text);
}
