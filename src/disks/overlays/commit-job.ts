/**
 * One block-commit of an active domain's device model, by node names. QEMU does the work and is polled for its progress,
 * with a new connection each time: the monitor must stay free for libxl.
 */

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtError, neverAborted, throwIfCancelled } from '../../errors.ts';
import { Qmp } from '../qemu/qmp.ts';
import type { CommitWatch } from './commit-progress.ts';

const POLL_MS = 100;
/** From the last step of a merge, when the guest writes to the base already, until that is seen. */
const COMPLETION_POLL_MS = 10;

/** A node and the path of its image. */
export interface NodePath {
  readonly node: string;
  readonly path: string;
}

/** `top` is merged into `base`, its backing image. `top` is `root` if it is the active image. */
export interface Commit {
  readonly disk: string;
  readonly root: string;
  readonly top: NodePath;
  readonly base: NodePath;
}

type JobWatch = Pick<CommitWatch, 'signal' | 'progress'>;

/** JobInfo of QEMU's qapi/job.json. */
export interface JobInfo {
  readonly id: string;
  readonly status: string;
  readonly 'current-progress': number;
  readonly 'total-progress': number;
  readonly error?: string;
}

/** Runs the commit until QEMU reads nothing from `top` any more; the job then waits for dismissCommit. */
export async function runCommit(socket: string, commit: Commit, watch: JobWatch): Promise<void> {
  throwIfCancelled(watch.signal);
  await startCommit(socket, commit);
  await followCommit(socket, commit.disk, commit.top.path, watch);
}

/** Starts the commit. `speed`: bytes a second at most; 0: unlimited. */
export async function startCommit(socket: string, commit: Commit, speed = 0): Promise<void> {
  const { disk, root, top, base } = commit;
  await execute(socket, disk, 'block-commit', {
    'job-id': jobId(disk, top.path),
    'auto-dismiss': false,
    device: root,
    'base-node': base.node,
    ...(speed > 0 && { speed }),
    ...(top.node !== root && { 'top-node': top.node, 'backing-file': base.path }),
  });
}

/**
 * Waits for a commit that is already under way. After an error or a cancellation the disk is as before, and no job is left.
 */
export async function followCommit(
  socket: string,
  disk: string,
  topPath: string,
  { signal, progress }: JobWatch,
): Promise<void> {
  let cancelled = false;
  let completing = false;
  while (true) {
    const job = await findCommit(socket, disk, topPath);
    if (!job) throw new LibvirtError('OPERATION_FAILED', `the block job on disk '${disk}' has vanished`);
    progress(job['current-progress'], job['total-progress']);
    if (job.status === 'concluded') {
      if (job.error === undefined) return;
      await execute(socket, disk, 'job-dismiss', { id: job.id });
      throwIfCancelled(signal);
      // After a failed sync QEMU fails all later ones until it opens the file again (raw_co_flush_to_disk).
      const advice = 'if that stays so, shut the guest off first';
      const text = `image '${topPath}' of disk '${disk}' cannot be merged: ${job.error}; ${advice}`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
    if (signal.aborted && !cancelled) {
      cancelled = true;
      // The job may have ended since: then it is done.
      await execute(socket, disk, 'job-cancel', { id: job.id }).catch(() => {});
    } else if (job.status === 'ready' && !cancelled) {
      await execute(socket, disk, 'job-complete', { id: job.id });
      completing = true;
    }
    await sleep(completing ? COMPLETION_POLL_MS : POLL_MS);
  }
}

/** The job that commits this image, running or ended; an earlier run of this program may have started it. */
export async function findCommit(socket: string, disk: string, topPath: string): Promise<JobInfo | undefined> {
  const jobs = (await execute(socket, disk, 'query-jobs', {})) as readonly JobInfo[];
  return jobs.find(({ id }) => id === jobId(disk, topPath));
}

/** Has QEMU forget a commit that has ended. It holds the nodes of a layer in the middle until then. */
export async function dismissCommit(socket: string, disk: string, topPath: string): Promise<void> {
  await execute(socket, disk, 'job-dismiss', { id: jobId(disk, topPath) });
}

/** Runs one command of a disk's block job. */
export async function execute(socket: string, disk: string, command: string, args: object): Promise<unknown> {
  await using qmp = await Qmp.connect(socket, neverAborted());
  return await qmp.execute(command, args, `disk '${disk}'`);
}

/** The same for the same image, so that findCommit finds it after a restart. */
export function jobId(disk: string, topPath: string): string {
  return `xlsnap-${disk}-${createHash('sha256').update(topPath).digest('hex').slice(0, 16)}`;
}
