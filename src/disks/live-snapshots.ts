/**
 * Snapshots of the disks of an active domain, internal and external, at one point in time: one QMP transaction for the
 * disks that QEMU serves, after the other backends, for which the caller pauses the guest.
 */

import { LibvirtError, throwIfCancelled, undoAll } from '../errors.ts';
import type { LibxlDiskSnapshot, LibxlDiskSnapshotResult } from '../model/libxl.ts';
import type { UndoStep } from './all-or-nothing.ts';
import { type DiskGroup, usableGroups } from './backends.ts';
import { requireOpenImages } from './open-files.ts';
import { type BlockGraph, hasJob, listOf, queryBlockGraph, requireRoot } from './qemu/block-graph.ts';
import { Qmp, QmpReplyLost } from './qemu/qmp.ts';
import type { LiveDisks, QemuBackend, ServedDisk, TransactionShare } from './storage-backend.ts';

/** Refuses what LiveSnapshots could not do. Reads only. */
export async function checkLiveSnapshots(live: LiveDisks): Promise<void> {
  await findDisks(live);
}

/**
 * One snapshot of all disks: `prepare` while the guest runs, `take` at the moment, `undo` after any failure of the two
 * or of what came after them.
 */
export class LiveSnapshots {
  readonly #live: LiveDisks;
  readonly #found: FoundDisks;
  /** Undo what backends other than QEMU's have made, latest last. */
  readonly #made: UndoStep[] = [];
  /** The shares that prepare has begun with. */
  readonly #prepared: TransactionShare[] = [];
  /** True as soon as the transaction may have succeeded. */
  #mayBeTaken = false;

  private constructor(live: LiveDisks, found: FoundDisks) {
    this.#live = live;
    this.#found = found;
  }

  /** Refuses as checkLiveSnapshots does, and makes the overlays' files. After an error none of them is left. */
  static async prepare(live: LiveDisks): Promise<LiveSnapshots> {
    const snapshots = new LiveSnapshots(live, await findDisks(live));
    try {
      for (const { share } of snapshots.#found.inQemu) {
        snapshots.#prepared.push(share);
        await share.prepare();
      }
      return snapshots;
    } catch (error) {
      throw await snapshots.undo(error);
    }
  }

  /**
   * True unless one transaction, or one disk's backend, takes the whole snapshot: the caller pauses the guest for
   * `take`.
   */
  get needsPause(): boolean {
    const { others, inQemu } = this.#found;
    const moments = others.flatMap(({ disks }) => disks).length + (inQemu.length > 0 ? 1 : 0);
    return moments > 1 || inQemu.some(({ share }) => share.needsPause);
  }

  /**
   * Takes all disks at one point in time. Returns, in the order of the given disks, the images that the guest writes to
   * afterwards. QEMU drains and flushes its disks, and undoes the whole transaction if one of them fails. After an
   * error `undo` is due.
   */
  async take(): Promise<readonly LibxlDiskSnapshotResult[]> {
    const { name, signal, disks } = this.#live;
    const { others, inQemu } = this.#found;
    throwIfCancelled(signal);
    for (const group of others) this.#made.push(...(await group.backend.create(name, group.disks, new Set())));
    if (inQemu.length > 0) await this.#transaction();
    return disks.map((snapshot) => {
      for (const { share } of inQemu) {
        const served = share.served.find((each) => each.snapshot === snapshot);
        if (served) return share.result(served);
      }
      return { ...snapshot, ...(snapshot.disk.pdev_path && { path: snapshot.disk.pdev_path }) };
    });
  }

  /**
   * Leaves the disks as before: overlays are merged back while the guest runs, and their files removed; internal
   * snapshots are deleted. Returns the error to throw: `cause`, with what is left over.
   */
  async undo(cause: unknown): Promise<LibvirtError> {
    const shares = this.#prepared.splice(0).flatMap((share) => share.undo(this.#mayBeTaken));
    return await undoAll([...shares, ...this.#made.splice(0)], cause);
  }

  async #transaction(): Promise<void> {
    const { name, disks, monitor, signal } = this.#live;
    await using qmp = await Qmp.connect(await monitor(), signal);
    const graph = await queryBlockGraph(qmp, listOf(disks));
    // Asked again: an HVM guest may have changed from the emulated drive to its PV disk since.
    const shares: { readonly share: TransactionShare; readonly served: readonly ServedDisk[] }[] = [];
    for (const { qemu, share } of this.#found.inQemu) {
      const snapshots = share.served.map(({ snapshot }) => snapshot);
      shares.push({ share, served: await allServable(graph, qemu, snapshots, name) });
    }
    throwIfCancelled(signal);
    const actions: object[] = [];
    for (const { share, served } of shares) actions.push(...(await share.actions(qmp, graph, served)));
    try {
      this.#mayBeTaken = true;
      await qmp.execute('transaction', { actions }, `snapshot '${name}' of ${listOf(disks)}`);
    } catch (error) {
      this.#mayBeTaken = error instanceof QmpReplyLost;
      throw error;
    }
    for (const { share } of shares) await share.finish(qmp);
  }
}

interface FoundDisks {
  /** Those of backends that take their snapshots without QEMU. */
  readonly others: readonly DiskGroup[];
  readonly inQemu: readonly { readonly qemu: QemuBackend; readonly share: TransactionShare }[];
}

async function findDisks(live: LiveDisks): Promise<FoundDisks> {
  const { name, monitor, signal } = live;
  const groups = await usableGroups(live.disks);
  const others = groups.filter(({ backend }) => !backend.qemu);
  const ofQemu = groups.flatMap(({ backend, disks }) => (backend.qemu ? { backend, disks, qemu: backend.qemu } : []));
  for (const { backend, disks } of others) await backend.checkFree(name, disks);
  for (const { qemu, disks } of ofQemu) await qemu.checkFiles(disks);
  if (ofQemu.length === 0) return { others, inQemu: [] };
  const socket = await monitor();
  await using qmp = await Qmp.connect(socket, signal);
  const graph = await queryBlockGraph(qmp, listOf(ofQemu.flatMap(({ disks }) => disks)));
  const inQemu: { readonly qemu: QemuBackend; readonly share: TransactionShare }[] = [];
  for (const { qemu, disks } of ofQemu) {
    inQemu.push({ qemu, share: qemu.share(await allServable(graph, qemu, disks, name), live) });
  }
  await requireOpenImages(
    socket,
    inQemu.flatMap(({ share }) => share.served.map(({ root }) => root)),
  );
  return { others, inQemu };
}

/** The disks as QEMU has them, if it can take a snapshot of this name of each. */
async function allServable(
  graph: BlockGraph,
  qemu: QemuBackend,
  disks: readonly LibxlDiskSnapshot[],
  name: string,
): Promise<readonly ServedDisk[]> {
  const served: ServedDisk[] = [];
  for (const snapshot of disks) served.push(await requireServable(graph, qemu, snapshot, name));
  return served;
}

async function requireServable(
  graph: BlockGraph,
  qemu: QemuBackend,
  snapshot: LibxlDiskSnapshot,
  name: string,
): Promise<ServedDisk> {
  const { disk } = snapshot;
  const root = await requireRoot(graph, disk);
  if (hasJob(root)) throw new LibvirtError('OPERATION_INVALID', `domain has active block job on disk '${disk.vdev}'`);
  if (!root.isExpected) {
    const text = `disk '${disk.vdev}' is '${root.path}' in the device model, but '${disk.pdev_path}' in the domain's definition: shut the guest off and start it again`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  qemu.check({ snapshot, root }, name);
  return { snapshot, root };
}
