/** Saving an embedded domain, in the order in which a Xen guest is saved. */

import { checkLiveSnapshots, LiveSnapshots } from '../../disks/live-snapshots.ts';
import type { LiveDisks } from '../../disks/storage-backend.ts';
import { neverAborted, systemError, throwIfCancelled, undoAll } from '../../errors.ts';
import { encodeMemoryStream, RAM_BYTES } from '../../memory/embedded-stream.ts';
import { requireFreeSpace } from '../../memory/free-space.ts';
import { PartialMemoryImage } from '../../memory/partial-image.ts';
import { requestedMemoryPath } from '../../memory/requested-path.ts';
import { tieOf } from '../../memory/tie.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { Job } from '../../snapshots/ports/jobs.ts';
import { withoutSecrets } from '../../xml/domain/formats.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { withId } from './definitions.ts';
import type { Run } from './domain.ts';
import type { GuestMemory } from './memory.ts';

/**
 * Refuses everything that `saveRun` could not do. Changes nothing. Unlike a guest on Xen, a paused one can be saved
 * with its memory: no vCPU has to answer.
 */
export async function checkSave(run: Run, args: LibxlDomainSnapshotArgs): Promise<void> {
  const { disks = [] } = args;
  const memoryPath = requestedMemoryPath(args);
  if (memoryPath !== undefined) await requireFreeSpace(memoryPath, RAM_BYTES / 1024, { live: false });
  for (const { disk } of disks) run.devices.node(disk.vdev);
  // A snapshot has one name in all its images.
  if (disks.length > 0) await checkLiveSnapshots(liveDisks(run, disks[0]?.name ?? '', disks, neverAborted()));
}

/**
 * Saves memory and disks at one point in time, with the phases of domainSnapshotSave. After an error the guest is in
 * the state it was in, and nothing is left over, or the message says what is.
 */
export async function saveRun(
  run: Run,
  name: string,
  args: LibxlDomainSnapshotArgs,
  job: Job,
): Promise<LibxlDomainSnapshot> {
  await checkSave(run, args);
  const snapshots = await LiveSnapshots.prepare(liveDisks(run, name, args.disks ?? [], job.signal));
  let image: PartialMemoryImage | undefined;
  try {
    const taken = await whileStanding(run.memory, async () => {
      image = await writeImage(run, requestedMemoryPath(args), job);
      await job.phase('paused');
      throwIfCancelled(job.signal);
      const started = performance.now();
      const disks = await snapshots.take();
      const timings = { disks_ms: Math.round(performance.now() - started) };
      return { disks, creation_time: Math.floor(Date.now() / 1000), timings };
    });
    await job.phase('disks-done');
    const memory = image && {
      memory: true,
      memory_path: image.path,
      memory_bytes: await image.finish(await tieOf(name, args.disks ?? [])),
    };
    return { name, ...memory, ...taken };
  } catch (error) {
    throw await undoAll([async () => image?.discard()], await snapshots.undo(error));
  }
}

function liveDisks(run: Run, name: string, disks: readonly LibxlDiskSnapshot[], signal: AbortSignal): LiveDisks {
  return { monitor: async () => run.devices.qmpSocket, name, disks, signal };
}

/** Pauses the guest during `work`. If it ran before, it runs again when `work` has ended, also after an error. */
async function whileStanding<T>(memory: GuestMemory, work: () => Promise<T>): Promise<T> {
  const wasRunning = memory.running;
  await memory.pause();
  try {
    return await work();
  } finally {
    if (wasRunning) memory.run();
  }
}

/** Writes header and RAM under the partial name. */
async function writeImage(
  { definition, id, memory }: Run,
  path: string | undefined,
  job: Job,
): Promise<PartialMemoryImage | undefined> {
  if (path === undefined) return undefined;
  await job.phase('saving');
  const image = await PartialMemoryImage.create(path, writeElement(withoutSecrets(withId(definition, id))));
  job.progress({ done: 0, total: RAM_BYTES });
  try {
    const stream = encodeMemoryStream(await memory.contents());
    await image.append(stream);
  } catch (error) {
    await image.discard();
    throwIfCancelled(job.signal);
    throw systemError(error, `Failed to write domain save file '${path}'`);
  }
  job.progress({ done: RAM_BYTES, total: RAM_BYTES });
  return image;
}
