/** Overlays that QEMU puts above the active images of a running guest. */

import { asLibvirtError, LibvirtError, neverAborted } from '../../errors.ts';
import { requireSame } from '../../files/same-file.ts';
import type { LibxlDiskSnapshotResult } from '../../model/libxl.ts';
import type { UndoStep } from '../all-or-nothing.ts';
import { type BlockGraph, type DiskRoot, deleteUnused, freeNodeName, graphOf } from '../qemu/block-graph.ts';
import type { Qmp } from '../qemu/qmp.ts';
import type { LiveDisks, QemuBackend, ServedDisk, TransactionShare } from '../storage-backend.ts';
import { dismissCommit, type NodePath, runCommit } from './commit-job.ts';
import { type CreatedOverlay, createOverlay, removeOverlay } from './make-overlay.ts';
import { checkOverlayFree, isBlockDevice, overlayOf } from './overlays.ts';

/** External snapshots of disks that a running QEMU has open. */
export const OVERLAY_IN_QEMU: QemuBackend = {
  async checkFiles(disks) {
    for (const snapshot of disks) await checkOverlayFree(overlayOf(snapshot));
  },

  check({ snapshot: { disk }, root }) {
    if (!root.isOpenTwice) return;
    const text = `disk '${disk.vdev}' is still used as emulated drive '${root.emulated}' beside its PV disk, and an overlay would be above one of the two only: wait until the guest has loaded its PV drivers, or take an internal snapshot`;
    throw new LibvirtError('OPERATION_INVALID', text);
  },

  share: (served, live) => new OverlayShare(served, live),

  /** Nothing: an overlay is merged, not deleted (live-commit.ts). */
  async delete() {},
};

interface MadeForDisk extends CreatedOverlay {
  readonly disk: string;
}

class OverlayShare implements TransactionShare {
  readonly served: readonly ServedDisk[];
  readonly needsPause = false;
  readonly #live: LiveDisks;
  /** The overlays whose files were made, latest last. */
  readonly #made: MadeForDisk[] = [];
  /** By disk, once QEMU has it open: the overlay's node, and that of its base. */
  readonly #opened = new Map<string, { readonly node: string; readonly base: DiskRoot }>();

  constructor(served: readonly ServedDisk[], live: LiveDisks) {
    this.served = served;
    this.#live = live;
  }

  async prepare(): Promise<void> {
    for (const { snapshot, root } of this.served) {
      const overlay = overlayOf(snapshot);
      const created = await createOverlay(overlay, { path: root.path, format: root.driver, bytes: root.bytes });
      this.#made.push({ ...created, disk: overlay.disk });
    }
  }

  async actions(qmp: Qmp, graph: BlockGraph, served: readonly ServedDisk[]): Promise<readonly object[]> {
    const actions: object[] = [];
    for (const { snapshot, root } of served) {
      const { path, format } = overlayOf(snapshot);
      const node = freeNodeName(graph, root.disk);
      const discard = snapshot.disk.discard_enable === false ? 'ignore' : 'unmap';
      const cache = { direct: root.cache.direct, 'no-flush': root.cache['no-flush'] };
      const file = { driver: (await isBlockDevice(path)) ? 'host_device' : 'file', filename: path };
      this.#opened.set(root.disk, { node, base: root });
      const options = { driver: format, 'node-name': node, discard, cache, backing: null, file };
      await qmp.execute('blockdev-add', options, `overlay '${path}'`);
      // QEMU opens it by its path. The guest does not write to it yet.
      const made = this.#made.find(({ disk }) => disk === root.disk);
      if (made) await requireSame(made.file);
      actions.push({ type: 'blockdev-snapshot', data: { node: root.node, overlay: node } });
    }
    return actions;
  }

  async finish(): Promise<void> {}

  result({ snapshot, root }: ServedDisk): LibxlDiskSnapshotResult {
    const node = this.#opened.get(root.disk)?.node ?? root.node;
    return { ...snapshot, path: overlayOf(snapshot).path, backing: root.path, node };
  }

  undo(mayBeTaken: boolean): readonly UndoStep[] {
    return this.#made.map((overlay) => () => this.#remove(overlay, mayBeTaken));
  }

  /**
   * Closes and removes an overlay. If the guest may have written to it and it cannot be merged back, the file stays.
   */
  async #remove(overlay: MadeForDisk, mayBeTaken: boolean): Promise<void> {
    const { disk } = overlay;
    const { path } = overlay.file;
    const opened = this.#opened.get(disk);
    try {
      if (opened) await removeNode(await this.#live.monitor(), disk, { ...opened, path }, opened.base);
    } catch (error) {
      if (mayBeTaken) {
        const text = `disk '${disk}' may be left on overlay '${path}': ${asLibvirtError(error).detail}`;
        throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
      }
    }
    await removeOverlay(overlay);
  }
}

/** The node is gone when this returns, whether the guest used it already or nobody did. */
async function removeNode(socket: string, disk: string, top: NodePath, base: NodePath): Promise<void> {
  const { attached } = await graphOf(socket, disk);
  if (!attached.some(({ node }) => node === top.node)) return await deleteUnused(socket, disk, top.path);
  await runCommit(socket, { disk, root: top.node, top, base }, { signal: neverAborted(), progress: () => {} });
  await deleteUnused(socket, disk, top.path);
  await dismissCommit(socket, disk, top.path);
}
