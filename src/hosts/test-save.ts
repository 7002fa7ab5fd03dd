/** Saving an embedded domain, in the order in which a Xen guest is saved. */

import { writeFile } from 'node:fs/promises';
import {
  checkInternalSnapshots,
  createInternalSnapshots,
  type DiskNode,
  deleteInternalSnapshots,
  queryBlockNodes,
} from '../disks/internal-snapshots.ts';
import { throwIfCancelled } from '../disks/qmp.ts';
import { LibvirtError, systemError } from '../errors.ts';
import { PartialMemoryImage } from '../libxl/memory-image.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { Job } from '../snapshots/ports.ts';
import { withoutSecrets } from '../xml/domain-format.ts';
import { writeElement } from '../xml/write.ts';
import { withId } from './test-definition.ts';
import type { Run } from './test-domain.ts';
import { encodeMemoryStream, RAM_BYTES } from './test-memory.ts';

/** Refuses what `saveRun` could not do. Changes nothing. */
export async function checkSave(run: Run, args: LibxlDomainSnapshotArgs): Promise<void> {
  const { disks = [] } = args;
  memoryPathOf(args);
  const nodes = internalNodes(run, disks);
  // A snapshot has one name in all its images.
  const name = disks[0]?.name;
  if (name === undefined) return;
  await checkInternalSnapshots({ socket: run.devices.qmpSocket, name, nodes, signal: new AbortController().signal });
}

/** suspend (guest stands, RAM to the file) → disks → resume → finish. After an error everything is as before. */
export async function saveRun(
  run: Run,
  name: string,
  args: LibxlDomainSnapshotArgs,
  job: Job,
): Promise<LibxlDomainSnapshot> {
  await checkSave(run, args);
  const { disks = [] } = args;
  const snapshots = { socket: run.devices.qmpSocket, name, nodes: internalNodes(run, disks), signal: job.signal };
  const image = await beginImage(run, memoryPathOf(args));
  const creation_time = Math.floor(Date.now() / 1000);
  let disksTaken = false;
  try {
    const timings = await whileStanding(run, job, async () => {
      if (image) await writeRam(run, image, job);
      throwIfCancelled(job.signal);
      await job.phase('disks');
      const started = performance.now();
      await createInternalSnapshots(snapshots);
      disksTaken = true;
      return { disks_ms: Math.round(performance.now() - started) };
    });
    await job.phase('finish');
    const memory = image && { memory: true, memory_path: image.path, memory_bytes: await image.finish() };
    return { name, creation_time, ...memory, disks: await describe(snapshots, disks), timings };
  } catch (error) {
    await image?.discard();
    if (disksTaken) await deleteInternalSnapshots({ ...snapshots, signal: new AbortController().signal });
    throw error;
  }
}

/** The nodes of the disks to be captured. Overlays the embedded host does not make. */
export function internalNodes(run: Run, disks: readonly LibxlDiskSnapshot[]): readonly DiskNode[] {
  return disks.map(({ disk, external }) => {
    if (external) {
      const text = `external snapshot for disk ${disk.vdev} unsupported by the embedded host`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    return run.devices.node(disk.vdev);
  });
}

function memoryPathOf({ memory = '<default>', memory_path: path }: LibxlDomainSnapshotArgs): string | undefined {
  if (memory === true && path === undefined) throw new LibvirtError('INVALID_ARG', 'memory without memory_path');
  return memory === false ? undefined : path;
}

async function beginImage({ definition, id }: Run, path: string | undefined): Promise<PartialMemoryImage | undefined> {
  if (path === undefined) return undefined;
  return PartialMemoryImage.create(path, `${writeElement(withoutSecrets(withId(definition, id)))}\n`);
}

/** The guest goes on when `work` has ended, well or badly, if it ran before. */
async function whileStanding<T>({ memory }: Run, job: Job, work: () => Promise<T>): Promise<T> {
  const wasRunning = memory.running;
  await job.phase('suspend');
  await memory.pause();
  try {
    return await work();
  } finally {
    if (wasRunning) memory.run();
  }
}

async function writeRam({ memory }: Run, image: PartialMemoryImage, job: Job): Promise<void> {
  job.progress({ done: 0, total: RAM_BYTES });
  try {
    await writeFile(image.partialPath, encodeMemoryStream(await memory.contents()), { flag: 'a', signal: job.signal });
  } catch (error) {
    throwIfCancelled(job.signal);
    throw systemError(error, `Failed to write domain save file '${image.path}'`);
  }
  job.progress({ done: RAM_BYTES, total: RAM_BYTES });
}

async function describe(
  options: Parameters<typeof queryBlockNodes>[0] & { readonly name: string },
  disks: readonly LibxlDiskSnapshot[],
): Promise<LibxlDomainSnapshot['disks'] & {}> {
  if (disks.length === 0) return [];
  const found = await queryBlockNodes({ ...options, signal: new AbortController().signal });
  return disks.flatMap((disk, index) => {
    const node = found[index];
    return node ? { ...disk, name: options.name, path: node.path, node: node.node } : [];
  });
}
