/**
 * Internal snapshots of the qcow2 images of an active domain, through its device model: Xen's qdisk backend, or the
 * embedded host's storage daemon, which name their nodes alike.
 */

import { asLibvirtError, LibvirtError, throwIfCancelled } from '../errors.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot, LibxlDiskSnapshotResult } from '../model/libxl.ts';
import { Qmp, QmpReplyLost } from './qmp.ts';

/** A disk (`xvda`) and the node of its top image in QEMU. */
export interface DiskNode {
  readonly disk: string;
  readonly node: string;
}

/** A disk's node as QEMU has it now. */
export interface BlockNode extends DiskNode {
  /** QEMU's name of the format. */
  readonly driver: string;
  /** Image that the guest writes to. */
  readonly path: string;
  /** Image beneath it, where there is one. */
  readonly backing?: string;
  /** Names of the internal snapshots in the image. */
  readonly snapshots: readonly string[];
}

export interface DiskNodesOptions {
  /** QMP socket of the domain's device model. */
  readonly socket: string;
  readonly nodes: readonly DiskNode[];
  /** Honoured up to the first change. */
  readonly signal: AbortSignal;
}

export interface InternalSnapshotOptions extends DiskNodesOptions {
  /** Name of the snapshot, the same in all images. */
  readonly name: string;
}

/** An entry of query-named-block-nodes (BlockDeviceInfo of QEMU's qapi/block-core.json). */
interface BlockDeviceInfo {
  readonly 'node-name': string;
  readonly drv: string;
  readonly file: string;
  readonly backing_file?: string;
  readonly image: { readonly snapshots?: readonly { readonly name: string }[] };
}

/** The node that QEMU's xen-block driver makes for a disk: `<vdev>-<driver>` (hw/block/xen-block.c). */
export function diskNode(disk: LibxlDeviceDisk): DiskNode {
  const driver = disk.format === 'vhd' ? 'vpc' : (disk.format ?? 'raw');
  return { disk: disk.vdev, node: `${disk.vdev}-${driver}` };
}

/** The disks as QEMU has them, in the order of `nodes`. Refuses a disk that QEMU does not have under this node name. */
export async function queryBlockNodes(options: DiskNodesOptions): Promise<readonly BlockNode[]> {
  await using qmp = await Qmp.connect(options.socket, options.signal);
  return await blockNodes(qmp, options.nodes);
}

/** Refuses what createInternalSnapshots could not do, before anything is touched. */
export async function checkInternalSnapshots(options: InternalSnapshotOptions): Promise<void> {
  refuseImpossible(await queryBlockNodes(options), options.name);
}

/**
 * The disks as QEMU has them before the snapshot; `disks` in the order of `options.nodes`. Refuses as
 * checkInternalSnapshots does.
 */
export async function describeDisks(
  options: InternalSnapshotOptions,
  disks: readonly LibxlDiskSnapshot[],
): Promise<readonly LibxlDiskSnapshotResult[]> {
  if (disks.length === 0) return [];
  const found = await queryBlockNodes(options);
  refuseImpossible(found, options.name);
  return disks.map((disk, i) => {
    const { path, backing, node } = found[i] ?? {};
    return {
      ...disk,
      ...(path !== undefined && { path }),
      ...(backing !== undefined && { backing }),
      ...(node !== undefined && { node }),
    };
  });
}

/**
 * All disks in one point in time, by one QMP transaction: QEMU drains and flushes them, and takes back what it has made
 * when one of them fails. After an error none of the images has the snapshot, or the message says which may have it: the
 * caller has nothing to delete (and must not: on a clash of names the snapshot there is somebody else's).
 */
export async function createInternalSnapshots(options: InternalSnapshotOptions): Promise<void> {
  const { socket, name, nodes, signal } = options;
  if (nodes.length === 0) return;
  const subject = `internal snapshot '${name}' of ${listOf(nodes)}`;
  const actions = nodes.map(({ node }) => ({ type: 'blockdev-snapshot-internal-sync', data: { device: node, name } }));
  let sent = false;
  try {
    await using qmp = await Qmp.connect(socket, signal);
    refuseImpossible(await blockNodes(qmp, nodes), name);
    throwIfCancelled(signal);
    sent = true;
    await qmp.execute('transaction', { actions }, subject);
  } catch (error) {
    if (sent && error instanceof QmpReplyLost) await deleteAfterLostReply(options, error);
    throw error;
  }
}

/** One disk after the other. A snapshot that is not there is fine, so after a failure the same call goes on. */
export async function deleteInternalSnapshots(options: InternalSnapshotOptions): Promise<void> {
  const { socket, name, nodes, signal } = options;
  if (nodes.length === 0) return;
  await using qmp = await Qmp.connect(socket, signal);
  for (const { node, disk, snapshots } of await blockNodes(qmp, nodes)) {
    if (!snapshots.includes(name)) continue;
    const subject = `internal snapshot '${name}' of disk '${disk}'`;
    await qmp.execute('blockdev-snapshot-delete-internal-sync', { device: node, name }, subject);
  }
}

function refuseImpossible(nodes: readonly BlockNode[], name: string): void {
  for (const { disk, driver, path, snapshots } of nodes) {
    if (driver !== 'qcow2') {
      const text = `internal snapshot for disk ${disk} unsupported for storage type ${driver}`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    if (snapshots.includes(name)) {
      const text = `disk '${disk}' already has an internal snapshot '${name}' in '${path}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  }
}

/** Before the transaction no image had a snapshot of this name, so one that is there now is its. */
async function deleteAfterLostReply(options: InternalSnapshotOptions, lost: QmpReplyLost): Promise<void> {
  try {
    await deleteInternalSnapshots({ ...options, signal: new AbortController().signal });
  } catch (error) {
    const text = `${lost.detail}; the images may be left with the snapshot: ${asLibvirtError(error).detail}`;
    throw new LibvirtError('OPERATION_FAILED', text, { cause: lost });
  }
}

async function blockNodes(qmp: Qmp, nodes: readonly DiskNode[]): Promise<readonly BlockNode[]> {
  const found = (await qmp.execute('query-named-block-nodes', { flat: true }, listOf(nodes))) as BlockDeviceInfo[];
  return nodes.map(({ disk, node }) => {
    const info = found.find((candidate) => candidate['node-name'] === node);
    if (!info) {
      throw new LibvirtError('OPERATION_FAILED', `the device model has no node '${node}' for disk '${disk}'`);
    }
    return {
      disk,
      node,
      driver: info.drv,
      path: info.file,
      ...(info.backing_file !== undefined && { backing: info.backing_file }),
      snapshots: (info.image.snapshots ?? []).map((snapshot) => snapshot.name),
    };
  });
}

function listOf(nodes: readonly DiskNode[]): string {
  return nodes.map(({ disk }) => `disk '${disk}'`).join(', ');
}
