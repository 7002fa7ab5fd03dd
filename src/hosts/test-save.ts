/** Saving an embedded domain, in the order in which a Xen guest is saved. */

import { writeFile } from 'node:fs/promises';
import {
  checkInternalSnapshots,
  createInternalSnapshots,
  type DiskNode,
  deleteInternalSnapshots,
  describeDisks,
  type InternalSnapshotOptions,
} from '../disks/internal-snapshots.ts';
import { asLibvirtError, LibvirtError, systemError, throwIfCancelled } from '../errors.ts';
import { diskNodes, memoryPathOf } from '../libxl/check.ts';
import { PartialMemoryImage } from '../libxl/memory-image.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { Job } from '../snapshots/ports.ts';
import { withoutSecrets } from '../xml/domain-format.ts';
import { writeElement } from '../xml/write.ts';
import { withId } from './test-definition.ts';
import type { Run } from './test-domain.ts';
import { encodeMemoryStream, type GuestMemory, RAM_BYTES } from './test-memory.ts';

/**
 * Refuses what `saveRun` could not do. Changes nothing. Unlike a guest on Xen, a paused one can be saved with its memory:
 * no vCPU has to answer.
 */
export async function checkSave(run: Run, args: LibxlDomainSnapshotArgs): Promise<void> {
  const { disks = [] } = args;
  memoryPathOf(args);
  // A snapshot has one name in all its images.
  const snapshots = snapshotsOf(run, disks[0]?.name ?? '', disks, new AbortController().signal);
  if (snapshots.nodes.length > 0) await checkInternalSnapshots(snapshots);
}

/**
 * Memory and disks in one point in time, with the phases of domainSnapshotSave. After an error the guest goes on as
 * before and nothing is left, or the message says what is.
 */
export async function saveRun(
  run: Run,
  name: string,
  args: LibxlDomainSnapshotArgs,
  job: Job,
): Promise<LibxlDomainSnapshot> {
  await checkSave(run, args);
  const snapshots = snapshotsOf(run, name, args.disks ?? [], job.signal);
  const disks = await describeDisks(snapshots, args.disks ?? []);
  const made: Made = {};
  try {
    const taken = await whileStanding(run.memory, async () => {
      const image = await writeImage(run, memoryPathOf(args), made, job);
      await job.phase('paused');
      throwIfCancelled(job.signal);
      const started = performance.now();
      await createInternalSnapshots(snapshots);
      made.snapshots = snapshots;
      const timings = { disks_ms: Math.round(performance.now() - started) };
      return { image, creation_time: Math.floor(Date.now() / 1000), timings };
    });
    await job.phase('disks-done');
    const { image, ...rest } = taken;
    const memory = image && { memory: true, memory_path: image.path, memory_bytes: await image.finish() };
    return { name, ...memory, ...rest, disks };
  } catch (error) {
    await takeBack(made, error);
    throw error;
  }
}

/** What a save has made so far. */
interface Made {
  image?: PartialMemoryImage;
  snapshots?: InternalSnapshotOptions;
}

/** The nodes of the disks to be captured, as the domain's device model has opened them. */
export function openedNodes(run: Run, disks: readonly LibxlDiskSnapshot[]): readonly DiskNode[] {
  return diskNodes(disks).map(({ disk }) => run.devices.node(disk));
}

function snapshotsOf(
  run: Run,
  name: string,
  disks: readonly LibxlDiskSnapshot[],
  signal: AbortSignal,
): InternalSnapshotOptions {
  return { socket: run.devices.qmpSocket, name, nodes: openedNodes(run, disks), signal };
}

/** The guest goes on when `work` has ended, well or badly, if it ran before. */
async function whileStanding<T>(memory: GuestMemory, work: () => Promise<T>): Promise<T> {
  const wasRunning = memory.running;
  await memory.pause();
  try {
    return await work();
  } finally {
    if (wasRunning) memory.run();
  }
}

/** Header and RAM, under the partial name. */
async function writeImage(
  { definition, id, memory }: Run,
  path: string | undefined,
  made: Made,
  job: Job,
): Promise<PartialMemoryImage | undefined> {
  if (path === undefined) return undefined;
  await job.phase('saving');
  const image = await PartialMemoryImage.create(path, writeElement(withoutSecrets(withId(definition, id))));
  made.image = image;
  job.progress({ done: 0, total: RAM_BYTES });
  try {
    const stream = encodeMemoryStream(await memory.contents());
    await writeFile(image.partialPath, stream, { flag: 'a', signal: job.signal });
  } catch (error) {
    throwIfCancelled(job.signal);
    throw systemError(error, `Failed to write domain save file '${path}'`);
  }
  job.progress({ done: RAM_BYTES, total: RAM_BYTES });
  return image;
}

async function takeBack({ image, snapshots }: Made, cause: unknown): Promise<void> {
  try {
    await image?.discard();
    if (snapshots) await deleteInternalSnapshots({ ...snapshots, signal: new AbortController().signal });
  } catch (error) {
    const { code, detail } = asLibvirtError(cause);
    throw new LibvirtError(code, `${detail}; and not all could be taken back: ${asLibvirtError(error).detail}`, {
      cause,
    });
  }
}
