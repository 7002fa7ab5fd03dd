/** Internal snapshots deleted from the images of an active domain, through its device model. */

import { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { groupByBackend, VOLUMES } from './backend.ts';
import { type BlockGraph, listOf, queryBlockGraph, requireRoot } from './qemu/block-graph.ts';
import { isDoubled, rereadImages } from './qemu/opened-twice.ts';
import { Qmp } from './qemu/qmp.ts';

export interface LiveDeleteOptions {
  /** QMP socket of the domain's device model; asked for where one of the disks is the device model's. */
  monitor(): Promise<string>;
  /** Has the guest stand still until it is disposed of, where QEMU has a disk open twice. Absent where it never has. */
  hold?(): Promise<AsyncDisposable>;
  /** Name of the internal snapshots, the same in all images. */
  readonly name: string;
  readonly disks: readonly LibxlDiskSnapshot[];
  readonly signal: AbortSignal;
}

/** One disk after the other. A snapshot that is not there is fine, so after a failure the same call goes on. */
export async function deleteLiveSnapshots({ name, disks, monitor, hold, signal }: LiveDeleteOptions): Promise<void> {
  const groups = await groupByBackend(disks);
  for (const [kind, backend] of VOLUMES) await backend.delete(name, groups[kind]);
  if (groups.qcow2.length === 0) return;
  await using qmp = await Qmp.connect(await monitor(), signal);
  const graph = await queryBlockGraph(qmp, listOf(disks));
  if (!groups.qcow2.some(({ disk }) => isDoubled(graph, disk))) {
    await deleteInternal(qmp, graph, name, groups.qcow2);
    return;
  }
  await using _held = await hold?.();
  try {
    await deleteInternal(qmp, await queryBlockGraph(qmp, listOf(disks)), name, groups.qcow2);
  } finally {
    await rereadImages(qmp, listOf(disks));
  }
}

async function deleteInternal(
  qmp: Qmp,
  graph: BlockGraph,
  name: string,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  for (const { disk } of disks) {
    const { node, snapshots, path } = requireRoot(graph, disk);
    if (path !== disk.pdev_path) {
      // libvirt's words; QEMU itself deletes from the image that the guest writes to, and no other.
      const text = `disk image '${disk.pdev_path}' for internal snapshot '${name}' is not the same as disk image currently used by VM`;
      throw new LibvirtError('OPERATION_UNSUPPORTED', text);
    }
    if (!snapshots.some((snapshot) => snapshot.name === name)) continue;
    const subject = `internal snapshot '${name}' of disk '${disk.vdev}'`;
    await qmp.execute('blockdev-snapshot-delete-internal-sync', { device: node, name }, subject);
  }
}
