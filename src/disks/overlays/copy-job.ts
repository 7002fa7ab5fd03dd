/** One copy of a disk to another image, which QEMU then keeps in step with it (blockdev-mirror), by node names. */

import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLibvirtError, LibvirtError, neverAborted, systemError, undoAll } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import { MadeFile } from '../../files/made-file.ts';
import { requireSame } from '../../files/same-file.ts';
import type { CopyJob } from '../../model/blocks/block-job.ts';
import type { UndoStep } from '../all-or-nothing.ts';
import { isOverlayOf, readChain } from '../chain/chains.ts';
import { fileKey } from '../file-key.ts';
import { deleteUnused, freeChain, freeNodeName, graphOf, notServed, requireOpenedOnce } from '../qemu/block-graph.ts';
import { requireChangeable } from '../qemu/image-info.ts';
import { syncFile } from '../qemu/qemu-img.ts';
import { Qmp } from '../qemu/qmp.ts';
import { execute, type JobInfo, jobId } from './commit-job.ts';
import { type CreatedOverlay, makeImage, removeOverlay } from './make-overlay.ts';
import { holdsData, isBlockDevice, unsupported } from './overlays.ts';

/** From the last step of a pivot, when the guest writes to the copy already, until that is seen. */
const COMPLETION_POLL_MS = 10;

/** The job's name in QEMU: the same for the same target, so that it is found after a restart. */
export function copyId({ disk, target }: CopyJob): string {
  return jobId(`${disk}-copy`, target.path);
}

/**
 * Makes the target, or takes the one that the client has made, and starts the copy. After an error nothing is left of it.
 * `speed`: bytes a second at most; 0: unlimited.
 */
export async function startCopy(socket: string, job: CopyJob, speed: number): Promise<void> {
  const { disk, source, target, backing } = job;
  const { graph, chain } = await freeChain(socket, disk, source);
  const [root] = chain;
  requireOpenedOnce(graph, disk, root);
  const backingKey = backing && (await fileKey(backing.path));
  const backingNode = chain.find(({ key }) => key === backingKey);
  if (backing && !backingNode) throw notServed(disk, backing);
  await checkTarget(job);
  const undo: UndoStep[] = [];
  try {
    const made = job.reuse ? await reused(job, root.bytes) : await created(job, root.bytes);
    undo.push(() => removeOverlay(made));
    const node = freeNodeName(graph, disk);
    await using qmp = await Qmp.connect(socket, neverAborted());
    await qmp.execute(
      'blockdev-add',
      {
        ...{ driver: target.format, 'node-name': node, discard: job.discard },
        cache: { direct: root.cache.direct, 'no-flush': root.cache['no-flush'] },
        ...(target.format !== 'raw' && { backing: backingNode?.node ?? null }),
        file: { driver: (await isBlockDevice(target.path)) ? 'host_device' : 'file', filename: target.path },
      },
      `copy '${target.path}'`,
    );
    undo.push(() => deleteUnused(socket, disk, target.path));
    // QEMU opens it by its path. Nothing is written to it yet.
    await requireSame(made.file);
    await qmp.execute(
      'blockdev-mirror',
      {
        ...{ 'job-id': copyId(job), 'auto-dismiss': false, device: root.node, target: node },
        sync: backing ? 'top' : 'full',
        ...(job.synchronous && { 'copy-mode': 'write-blocking' }),
        ...(speed > 0 && { speed }),
        ...(job.granularity !== undefined && { granularity: job.granularity }),
        ...(job.bufferSize !== undefined && { 'buf-size': job.bufferSize }),
      },
      `disk '${disk}'`,
    );
  } catch (error) {
    throw await undoAll(undo, error);
  }
}

/** Ends a copy without pivot. One that is ready concludes with a target that holds what the disk holds now. */
export async function cancelCopy(socket: string, job: CopyJob): Promise<void> {
  await execute(socket, job.disk, 'block-job-cancel', { device: copyId(job) });
}

/**
 * With `pivot` the guest uses the copy from then on, and `moved` is called; without it the copy is closed. Images that the
 * disk does not use any more are closed. Idempotent.
 */
export async function finishCopy(socket: string, job: CopyJob, moved: () => Promise<void>): Promise<void> {
  const { disk, target } = job;
  const found = job.pivot ? await completed(socket, job) : await findJob(socket, job);
  await syncFile(target.path);
  if (job.pivot) await moved();
  // As long as the job is in QEMU it shows that the guest uses the copy.
  for (const { path } of job.pivot ? job.left : [target]) await deleteUnused(socket, disk, path);
  if (found) await execute(socket, disk, 'job-dismiss', { id: found.id });
}

/** Has QEMU complete the job, and returns when the guest uses the copy; undefined if QEMU has forgotten the job since. */
async function completed(socket: string, job: CopyJob): Promise<JobInfo | undefined> {
  const { disk, target } = job;
  while (true) {
    const found = await findJob(socket, job);
    if (!found) {
      const key = await fileKey(target.path);
      const { nodes, attached } = await graphOf(socket, disk);
      if (attached.some(({ node }) => nodes.some((each) => each.node === node && each.key === key))) return undefined;
      throw new LibvirtError('OPERATION_FAILED', `the block job on disk '${disk}' has vanished`);
    }
    if (found.status === 'concluded') {
      if (found.error === undefined) return found;
      await execute(socket, disk, 'job-dismiss', { id: found.id });
      const text = `disk '${disk}' cannot be pivoted to '${target.path}': ${found.error}`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
    if (found.status === 'ready') await execute(socket, disk, 'job-complete', { id: found.id });
    await sleep(COMPLETION_POLL_MS);
  }
}

async function findJob(socket: string, job: CopyJob): Promise<JobInfo | undefined> {
  const jobs = (await execute(socket, job.disk, 'query-jobs', {})) as readonly JobInfo[];
  return jobs.find(({ id }) => id === copyId(job));
}

const failureOf = ({ disk, target }: CopyJob): string => `cannot copy disk '${disk}' to '${target.path}'`;

async function created(job: CopyJob, bytes: number): Promise<CreatedOverlay> {
  const { target, backing, source } = job;
  await using made = await makeImage(target, { bytes, backing, like: source.path, failure: failureOf(job) });
  return { file: made.at, ours: !(await made.handle.stat()).isBlockDevice() };
}

/**
 * A target that the client has made must show, once all is copied, what the disk shows, also at the next start, when its
 * own header says what is below it.
 */
async function reused(job: CopyJob, bytes: number): Promise<CreatedOverlay> {
  const { target, backing } = job;
  const failure = failureOf(job);
  await using file = await MadeFile.existing(target.path).catch((error) => {
    throw isLibvirtError(error) ? unsupported(`${failure}: ${error.detail}`) : systemError(error, failure);
  });
  const { virtualBytes } = await requireChangeable(target, failure);
  if (virtualBytes < bytes) {
    throw unsupported(`${failure}: it is a disk of ${virtualBytes} bytes, not of ${bytes}`);
  }
  const { layers, broken } = await readChain(target);
  if (broken) throw broken.error;
  if (!backing) {
    if (layers.length > 1) throw unsupported(`${failure}: it has a backing image, so only a shallow copy fits`);
    return { file: file.at, ours: false };
  }
  if (!(await isOverlayOf(target, backing))) {
    throw unsupported(`${failure}: its backing image is '${layers[1]?.path ?? ''}', not '${backing.path}'`);
  }
  if (await holdsData(target)) throw unsupported(`${failure}: it is not empty`);
  return { file: file.at, ours: false };
}

/** Refuses, with libvirt's code and text, a target that is in the way, or missing (qemuDomainBlockCopyValidateMirror). */
async function checkTarget({ disk, reuse, target: { path, block } }: CopyJob): Promise<void> {
  const found = await statIfThere(path);
  if (!found && (reuse || block)) {
    throw systemError(
      await stat(path).catch((error: unknown) => error),
      `missing destination file for disk ${disk}: ${path}`,
    );
  }
  if (!found || found.isBlockDevice()) return;
  if (found.size > 0 && !reuse) {
    const text = `external destination file for disk ${disk} already exists and is not a block device: ${path}`;
    throw unsupported(text);
  }
  if (block) {
    const text = `blockdev flag requested for disk ${disk}, but file '${path}' is not a block device`;
    throw new LibvirtError('INVALID_ARG', text);
  }
}
