/** Internal snapshots in qcow2 images that QEMU has open for a running guest. */

import { asLibvirtError, LibvirtError, neverAborted } from '../../errors.ts';
import type { LibxlDiskSnapshot, LibxlDiskSnapshotResult } from '../../model/libxl.ts';
import { deleteInTurn } from '../all-or-nothing.ts';
import type { LiveDisks, QemuBackend, ServedDisk, TransactionShare } from '../storage-backend.ts';
import { type BlockGraph, listOf, queryBlockGraph, requireRoot } from './block-graph.ts';
import { rereadImages } from './opened-twice.ts';
import { revertRefusal } from './qcow2-refusals.ts';
import { Qmp } from './qmp.ts';

/** Internal snapshots of qcow2 images that a running QEMU has open. */
export const QCOW2_IN_QEMU: QemuBackend = {
  /** No file is made. An image that could not be reverted to the snapshot gets none. */
  async checkFiles(disks) {
    for (const { disk } of disks) {
      const reason = await revertRefusal(disk.pdev_path ?? '');
      if (reason !== undefined) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}': ${reason}`);
    }
  },

  check({ snapshot: { disk }, root }, name) {
    if (root.driver !== 'qcow2') {
      const text = `internal snapshot for disk ${disk.vdev} unsupported for storage type ${root.driver}`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    if (root.snapshots.some((snapshot) => snapshot.name === name)) {
      const text = `disk '${disk.vdev}' already has an internal snapshot '${name}' in '${root.path}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  share: (served, live) => new Qcow2Share(served, live),
  delete: deleteInternal,
};

class Qcow2Share implements TransactionShare {
  readonly served: readonly ServedDisk[];
  /** QEMU has one of the images open twice, so that it must read them again after the transaction. */
  readonly needsPause: boolean;
  readonly #live: LiveDisks;

  constructor(served: readonly ServedDisk[], live: LiveDisks) {
    this.served = served;
    this.needsPause = served.some(({ root }) => root.isOpenTwice);
    this.#live = live;
  }

  async prepare(): Promise<void> {}

  async actions(_qmp: Qmp, _graph: BlockGraph, served: readonly ServedDisk[]): Promise<readonly object[]> {
    const { name } = this.#live;
    return served.map(({ root }) => ({
      type: 'blockdev-snapshot-internal-sync',
      data: { device: root.node, name },
    }));
  }

  async finish(qmp: Qmp): Promise<void> {
    if (this.needsPause) await rereadImages(qmp, listOf(this.#live.disks));
  }

  result({ snapshot, root }: ServedDisk): LibxlDiskSnapshotResult {
    const { path, backing, node } = root;
    return { ...snapshot, path, ...(backing !== undefined && { backing }), node };
  }

  /** Before the transaction no image had a snapshot of this name: one that is there after it was made by it. */
  undo(mayBeTaken: boolean) {
    return mayBeTaken ? [() => this.#deleteTaken()] : [];
  }

  async #deleteTaken(): Promise<void> {
    const disks = this.served.map(({ snapshot }) => snapshot);
    try {
      await deleteInternal({ ...this.#live, signal: neverAborted() }, disks);
    } catch (error) {
      const text = `internal snapshot '${this.#live.name}' of ${listOf(disks)}: ${asLibvirtError(error).detail}`;
      throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
    }
  }
}

async function deleteInternal(
  { name, monitor, hold, signal }: LiveDisks,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  await using qmp = await Qmp.connect(await monitor(), signal);
  const graph = await queryBlockGraph(qmp, listOf(disks));
  const roots = await Promise.all(disks.map(({ disk }) => requireRoot(graph, disk)));
  if (!roots.some(({ isOpenTwice }) => isOpenTwice)) return await deleteFrom(qmp, graph, name, disks);
  await using _held = await hold?.();
  try {
    await deleteFrom(qmp, await queryBlockGraph(qmp, listOf(disks)), name, disks);
  } finally {
    await rereadImages(qmp, listOf(disks));
  }
}

async function deleteFrom(
  qmp: Qmp,
  graph: BlockGraph,
  name: string,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  const single = disks.map((snapshot) => ({ disk: snapshot.disk, disks: [snapshot] }));
  await deleteInTurn(single, async ({ disk }) => {
    const { node, snapshots, isExpected } = await requireRoot(graph, disk);
    if (!isExpected) {
      // libvirt's words; QEMU itself deletes only from the active image.
      const text = `disk image '${disk.pdev_path}' for internal snapshot '${name}' is not the same as disk image currently used by VM`;
      throw new LibvirtError('OPERATION_UNSUPPORTED', text);
    }
    if (!snapshots.some((snapshot) => snapshot.name === name)) return;
    const subject = `internal snapshot '${name}' of disk '${disk.vdev}'`;
    await qmp.execute('blockdev-snapshot-delete-internal-sync', { device: node, name }, subject);
  });
}
