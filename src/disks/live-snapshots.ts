/**
 * Snapshots of the disks of an active domain, internal and external, in one point in time: by one QMP transaction for
 * what its device model serves, after the volumes of LVM and ZFS, which the caller's paused guest keeps in step.
 */

import { asLibvirtError, LibvirtError, neverAborted, throwIfCancelled, undoAll } from '../errors.ts';
import type { LibxlDiskSnapshot, LibxlDiskSnapshotResult } from '../model/libxl.ts';
import { groupByBackend, VOLUMES } from './backend.ts';
import { deleteLiveSnapshots, type LiveDeleteOptions } from './live-delete.ts';
import { endCommit, type NodePath, runCommit } from './overlays/commit-job.ts';
import {
  checkOverlayFree,
  createOverlay,
  isBlockDevice,
  type Overlay,
  overlayOf,
  removeOverlay,
} from './overlays/overlays.ts';
import {
  type BlockGraph,
  type DiskRoot,
  deleteUnused,
  freeNodeName,
  graphOf,
  hasJob,
  listOf,
  queryBlockGraph,
  requireRoot,
} from './qemu/block-graph.ts';
import { isDoubled, rereadImages } from './qemu/opened-twice.ts';
import { Qmp, QmpReplyLost } from './qemu/qmp.ts';

/** `disks`: whose `pdev_path` is the image that the guest writes to now. `signal`: honoured up to the first change. */
export type LiveSnapshotOptions = LiveDeleteOptions;

/** Refuses what LiveSnapshots could not do, before anything is touched. */
export async function checkLiveSnapshots(options: LiveSnapshotOptions): Promise<void> {
  await findDisks(options);
}

/**
 * One snapshot of all disks: `prepare` while the guest runs, `take` at the moment, `undo` after any failure of the two or
 * of what came after them.
 */
export class LiveSnapshots {
  readonly #options: LiveSnapshotOptions;
  readonly #found: FoundDisks;
  /** What undo has to take back, latest last. */
  readonly #made: (() => Promise<void>)[] = [];
  /** The new node of each disk that gets an overlay, and the one beneath. */
  readonly #overlaid = new Map<string, { readonly node: string; readonly base: DiskRoot }>();
  /** True once the guest may write to the overlays. */
  #sent = false;

  private constructor(options: LiveSnapshotOptions, found: FoundDisks) {
    this.#options = options;
    this.#found = found;
  }

  /** Refuses as checkLiveSnapshots does, and makes the overlays' files. On an error none of them is left. */
  static async prepare(options: LiveSnapshotOptions): Promise<LiveSnapshots> {
    const found = await findDisks(options);
    const snapshots = new LiveSnapshots(options, found);
    try {
      for (const { root, snapshot } of found.served.filter(isExternal)) {
        const overlay = overlayOf(snapshot);
        await createOverlay(overlay, { path: root.path, format: root.driver, bytes: root.bytes });
        snapshots.#made.push(() => snapshots.#undoOverlay(overlay));
      }
      return snapshots;
    } catch (error) {
      throw await snapshots.undo(error);
    }
  }

  /** False where one transaction takes them all, and that is all there is to do; else the guest has to stand still meanwhile. */
  get needsPause(): boolean {
    const { groups, served, doubled } = this.#found;
    return doubled || groups.lvm.length + groups.zfs.length + (served.length > 0 ? 1 : 0) > 1;
  }

  /**
   * All disks in one point in time, in the order of the options' `disks`: where the guest writes to from then on. QEMU
   * drains and flushes its disks, and takes back what it has made when one of them fails. After an error `undo` is due.
   */
  async take(): Promise<readonly LibxlDiskSnapshotResult[]> {
    const { name, signal, disks } = this.#options;
    const { groups, served } = this.#found;
    throwIfCancelled(signal);
    for (const [kind, backend] of VOLUMES) {
      await backend.create(name, groups[kind]);
      this.#made.push(() => backend.delete(name, groups[kind]));
    }
    if (served.length > 0) await this.#transaction();
    return disks.map((snapshot) => {
      const root = served.find((each) => each.snapshot === snapshot)?.root;
      if (!root) return { ...snapshot, ...(snapshot.disk.pdev_path && { path: snapshot.disk.pdev_path }) };
      const node = this.#overlaid.get(root.disk)?.node ?? root.node;
      if (snapshot.external) return { ...snapshot, path: overlayOf(snapshot).path, backing: root.path, node };
      return { ...snapshot, path: root.path, ...(root.backing !== undefined && { backing: root.backing }), node };
    });
  }

  /**
   * As before: overlays are merged back while the guest goes on, and their files removed; internal snapshots are deleted.
   * Gives the error to throw: `cause`, with what is left where something is.
   */
  async undo(cause: unknown): Promise<LibvirtError> {
    return await undoAll(this.#made.splice(0), cause);
  }

  /** The disks that the device model serves. */
  async #transaction(): Promise<void> {
    const { name, disks, monitor, signal } = this.#options;
    await using qmp = await Qmp.connect(await monitor(), signal);
    const graph = await queryBlockGraph(qmp, listOf(disks));
    // Asked anew: an HVM guest may have changed from the emulated drive to its PV disk meanwhile.
    const served = this.#found.served.map(({ snapshot }) => ({
      snapshot,
      root: requireServable(graph, snapshot, name),
    }));
    throwIfCancelled(signal);
    for (const { snapshot, root } of served.filter(isExternal)) {
      const { path, format } = overlayOf(snapshot);
      const node = freeNodeName(graph, root.disk);
      const discard = snapshot.disk.discard_enable === false ? 'ignore' : 'unmap';
      const cache = { direct: root.cache.direct, 'no-flush': root.cache['no-flush'] };
      const file = { driver: (await isBlockDevice(path)) ? 'host_device' : 'file', filename: path };
      this.#overlaid.set(root.disk, { node, base: root });
      const options = { driver: format, 'node-name': node, discard, cache, backing: null, file };
      await qmp.execute('blockdev-add', options, `overlay '${path}'`);
    }
    const actions = served.map(({ snapshot, root }) =>
      snapshot.external
        ? { type: 'blockdev-snapshot', data: { node: root.node, overlay: this.#overlaid.get(root.disk)?.node } }
        : { type: 'blockdev-snapshot-internal-sync', data: { device: root.node, name } },
    );
    const internal = served.filter((each) => !isExternal(each)).map(({ snapshot }) => snapshot);
    // Before the transaction no image had a snapshot of this name, so one that is there after it is its.
    const deleteTaken = async () => {
      try {
        await deleteLiveSnapshots({ ...this.#options, disks: internal, signal: neverAborted() });
      } catch (error) {
        const text = `internal snapshot '${name}' of ${listOf(internal)}: ${asLibvirtError(error).detail}`;
        throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
      }
    };
    try {
      this.#sent = true;
      await qmp.execute('transaction', { actions }, `snapshot '${name}' of ${listOf(disks)}`);
      this.#made.push(deleteTaken);
    } catch (error) {
      if (error instanceof QmpReplyLost) this.#made.push(deleteTaken);
      else this.#sent = false;
      throw error;
    }
    if (this.#found.doubled) await rereadImages(qmp, listOf(disks));
  }

  /** The overlay's node and file. A file that the guest may have written to, and cannot be merged back, stays. */
  async #undoOverlay(overlay: Overlay): Promise<void> {
    const { disk, path } = overlay;
    const overlaid = this.#overlaid.get(disk);
    try {
      if (overlaid) await removeNode(await this.#options.monitor(), disk, { ...overlaid, path }, overlaid.base);
    } catch (error) {
      if (this.#sent) {
        const text = `disk '${disk}' may be left on overlay '${path}': ${asLibvirtError(error).detail}`;
        throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
      }
    }
    await removeOverlay(overlay);
  }
}

interface ServedDisk {
  readonly snapshot: LibxlDiskSnapshot;
  readonly root: DiskRoot;
}

interface FoundDisks {
  readonly groups: Awaited<ReturnType<typeof groupByBackend>>;
  /** Those of the device model, in the order of the options. */
  readonly served: readonly ServedDisk[];
  /** An internal snapshot is to be made in an image that QEMU has open twice. */
  readonly doubled: boolean;
}

async function findDisks({ name, disks, monitor, signal }: LiveSnapshotOptions): Promise<FoundDisks> {
  const groups = await groupByBackend(disks);
  for (const [kind, backend] of VOLUMES) await backend.checkFree(name, groups[kind]);
  for (const snapshot of groups.overlay) await checkOverlayFree(overlayOf(snapshot));
  const serving = disks.filter((snapshot) => groups.overlay.includes(snapshot) || groups.qcow2.includes(snapshot));
  if (serving.length === 0) return { groups, served: [], doubled: false };
  await using qmp = await Qmp.connect(await monitor(), signal);
  const graph = await queryBlockGraph(qmp, listOf(serving));
  const served = serving.map((snapshot) => ({ snapshot, root: requireServable(graph, snapshot, name) }));
  return { groups, served, doubled: groups.qcow2.some(({ disk }) => isDoubled(graph, disk)) };
}

/** The disk's root, if a snapshot of it can be taken under this name. */
function requireServable(graph: BlockGraph, { disk, external }: LibxlDiskSnapshot, name: string): DiskRoot {
  const root = requireRoot(graph, disk);
  const { vdev, pdev_path: path } = disk;
  if (hasJob(root)) throw new LibvirtError('OPERATION_INVALID', `domain has active block job on disk '${vdev}'`);
  if (root.path !== path) {
    const text = `disk '${vdev}' is '${root.path}' in the device model, but '${path}' in the domain's definition: shut the guest off and start it again`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (external) {
    if (!isDoubled(graph, disk)) return root;
    const text = `disk '${vdev}' is still used as emulated drive '${root.emulated}' beside its PV disk, and an overlay would be above one of the two only: wait until the guest has loaded its PV drivers, or take an internal snapshot`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (root.driver !== 'qcow2') {
    const text = `internal snapshot for disk ${vdev} unsupported for storage type ${root.driver}`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  if (root.snapshots.some((snapshot) => snapshot.name === name)) {
    const text = `disk '${vdev}' already has an internal snapshot '${name}' in '${root.path}': choose another name`;
    throw new LibvirtError('OPERATION_FAILED', text);
  }
  return root;
}

/** Whether the guest uses it already, or nobody does: the node is gone when this returns. */
async function removeNode(socket: string, disk: string, top: NodePath, base: NodePath): Promise<void> {
  const { attached } = await graphOf(socket, disk);
  if (!attached.some(({ node }) => node === top.node)) return await deleteUnused(socket, disk, top.path);
  await runCommit(socket, { disk, root: top.node, top, base }, { signal: neverAborted(), progress: () => {} });
  await endCommit(socket, disk, top.path);
}

function isExternal({ snapshot }: ServedDisk): boolean {
  return snapshot.external === true;
}
