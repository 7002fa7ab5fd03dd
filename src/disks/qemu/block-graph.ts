/**
 * The block nodes of an active domain's disks, as its device model has them: Xen's qdisk backend, or the embedded
 * host's storage daemon. Nothing is cached: snapshots and commits change which node serves a disk, so each operation
 * asks QEMU which nodes its devices and exports are attached to, and identifies the disks by image and node name.
 */

import { LibvirtError, neverAborted } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot } from '../../model/libxl.ts';
import { readBackingName } from '../chain/backing-name.ts';
import { fileKey } from '../file-key.ts';
import { requireOpenImages } from '../open-files.ts';
import { Qmp } from './qmp.ts';

/** A disk (`xvda`) and the node of its top image in QEMU. */
export interface DiskNode {
  readonly disk: string;
  readonly node: string;
}

/** An internal snapshot in an image. */
interface NamedSnapshot {
  readonly name: string;
}

/** An image that QEMU has open. */
interface ImageNode {
  readonly node: string;
  /** QEMU's name of the format; that of a filter while a job works on the node. */
  readonly driver: string;
  readonly path: string;
  /** The same for all names of the image. */
  readonly key: string;
  /** Its backing image, if it has one: a path, or QEMU's name of what is not on this host. */
  readonly backing?: string;
  /** The key of its backing image, if that is on this host. */
  readonly backingKey?: string;
  readonly bytes: number;
  readonly cache: BlockDeviceInfo['cache'];
  readonly snapshots: readonly NamedSnapshot[];
}

/** The node that a disk's device is attached to: its active image. */
export interface DiskRoot extends ImageNode {
  readonly disk: string;
  /** The emulated drive (`ide0-hd0`) that an HVM guest still uses in place of its PV disk. */
  readonly emulated?: string;
  /** The guest may still change from the emulated drive to the PV disk: see opened-twice.ts. */
  readonly isOpenTwice: boolean;
  /** The image is the one that the disk is said to have, by whatever name. */
  readonly isExpected: boolean;
}

type FoundRoot = Omit<DiskRoot, 'isOpenTwice' | 'isExpected'>;

/** An entry of query-named-block-nodes (BlockDeviceInfo of QEMU's qapi/block-core.json). */
interface BlockDeviceInfo {
  readonly 'node-name': string;
  readonly drv: string;
  readonly file: string;
  readonly backing_file?: string;
  readonly cache: { readonly direct: boolean; readonly 'no-flush': boolean };
  readonly image: {
    readonly 'virtual-size': number;
    readonly 'full-backing-filename'?: string;
    readonly snapshots?: readonly NamedSnapshot[];
  };
}

/** An entry of query-block. PV disks have no device name, emulated ones have. */
interface BlockInfo {
  readonly device: string;
  readonly inserted?: { readonly 'node-name'?: string };
}

/** All nodes of one QEMU, and which of them a device or an export is attached to. */
export interface BlockGraph {
  readonly nodes: readonly ImageNode[];
  readonly attached: readonly { readonly node: string; readonly device: string }[];
}

/** Drivers of protocol nodes, through which QEMU opens the images. */
const PROTOCOLS: ReadonlySet<string> = new Set(['file', 'host_device', 'host_cdrom', 'nbd', 'null-co']);

/** Drivers of the filter nodes that a job inserts while it runs. */
const JOB_FILTERS: ReadonlySet<string> = new Set(['commit_top', 'mirror_top', 'backup-top', 'copy-on-read']);

/** The node that QEMU's xen-block driver makes for a disk: `<vdev>-<driver>` (hw/block/xen-block.c). */
export function diskNode(disk: LibxlDeviceDisk): DiskNode {
  const driver = disk.format === 'vhd' ? 'vpc' : (disk.format ?? 'raw');
  return { disk: disk.vdev, node: `${disk.vdev}-${driver}` };
}

/** Asks QEMU for its block nodes. `subject`: for error messages. */
export async function queryBlockGraph(qmp: Qmp, subject: string): Promise<BlockGraph> {
  const infos = (await qmp.execute('query-named-block-nodes', { flat: true }, subject)) as readonly BlockDeviceInfo[];
  const devices = (await qmp.execute('query-block', {}, subject)) as readonly BlockInfo[];
  const exports = (await qmp.execute('query-block-exports', {}, subject)) as readonly {
    readonly 'node-name': string;
  }[];
  const drives = devices.map(({ device, inserted }) => ({ device, node: inserted?.['node-name'] ?? '' }));
  return {
    nodes: await Promise.all(infos.filter(({ drv }) => !PROTOCOLS.has(drv)).map(imageNode)),
    attached: [...drives, ...exports.map((each) => ({ device: '', node: each['node-name'] }))],
  };
}

/** queryBlockGraph over a connection of its own, which cannot be cancelled. */
export async function graphOf(socket: string, disk: string): Promise<BlockGraph> {
  await using qmp = await Qmp.connect(socket, neverAborted());
  return await queryBlockGraph(qmp, `disk '${disk}'`);
}

/** Removes the nodes of an image that no device uses: its file is closed when this returns. */
export async function deleteUnused(socket: string, disk: string, path: string): Promise<void> {
  const graph = await graphOf(socket, disk);
  const used = new Set(chainsOf(graph).flat());
  const key = await fileKey(path);
  const unused = graph.nodes.filter((node) => node.key === key && !used.has(node));
  await using qmp = await Qmp.connect(socket, neverAborted());
  for (const { node } of unused) {
    await qmp.execute('blockdev-del', { 'node-name': node }, `node '${node}' of disk '${disk}'`);
  }
}

/**
 * Removes the nodes of a disk that was detached: its images are closed, and another disk can be attached in its place. QEMU
 * removes only the node that it made for the disk, and not even that if an overlay is above it (xen_block_drive_destroy).
 */
export async function deleteDetached(socket: string, disk: string): Promise<void> {
  const graph = await graphOf(socket, disk);
  const left = graph.nodes.filter(({ node }) => isNamedAfter(node, disk));
  if (graph.attached.some(({ node }) => left.some((each) => each.node === node))) return;
  await using qmp = await Qmp.connect(socket, neverAborted());
  while (left.length > 0) {
    // An overlay goes before its base.
    const top = left.findIndex(({ key }) => !left.some(({ backingKey }) => backingKey === key));
    const [{ node } = { node: '' }] = left.splice(Math.max(top, 0), 1);
    await qmp.execute('blockdev-del', { 'node-name': node }, `node '${node}' of disk '${disk}'`);
  }
}

/** For messages: `disk 'xvda', disk 'xvdb'`. */
export function listOf(disks: readonly LibxlDiskSnapshot[]): string {
  return disks.map(({ disk }) => `disk '${disk.vdev}'`).join(', ');
}

/** The active image of each device or export, each with its backing chain. */
export function chainsOf(graph: BlockGraph): readonly (readonly ImageNode[])[] {
  return graph.attached
    .flatMap(({ node }) => graph.nodes.filter((each) => each.node === node))
    .map((root) => chainOf(graph, root));
}

/** The disk as its guest uses it. Refuses a disk that QEMU does not serve. */
export async function requireRoot(graph: BlockGraph, disk: LibxlDeviceDisk): Promise<DiskRoot> {
  const key = disk.pdev_path === undefined ? undefined : await fileKey(disk.pdev_path);
  const [root, ...others] = rootsOf(graph, disk.vdev, key);
  if (root) {
    return { ...root, isOpenTwice: root.emulated !== undefined && others.length > 0, isExpected: root.key === key };
  }
  const text = `the device model serves no disk '${disk.vdev}' (image '${disk.pdev_path}')`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/**
 * The roots that may be a disk's, the one in use first. An HVM guest has an emulated drive and a PV disk on the same
 * image until its PV drivers unplug the former: as long as QEMU lists the drive, that is the one in use. `key`: of the image
 * that the disk is said to have.
 */
function rootsOf({ nodes, attached }: BlockGraph, vdev: string, key: string | undefined): readonly FoundRoot[] {
  const rank = (root: FoundRoot) =>
    (root.emulated === undefined ? 0 : 4) + (root.key === key ? 2 : 0) + (isNamedAfter(root.node, vdev) ? 1 : 0);
  return attached
    .flatMap(({ node, device }) => {
      const found = nodes.find((each) => each.node === node);
      return found ? { ...found, disk: vdev, ...(device !== '' && { emulated: device }) } : [];
    })
    .filter((root) => root.key === key || isNamedAfter(root.node, vdev))
    .sort((a, b) => rank(b) - rank(a));
}

/** The nodes of a disk's chain, from its active image. Refuses a disk that QEMU does not serve from that image, or a job works on. */
export async function freeChain(
  socket: string,
  disk: string,
  active: DiskImage,
): Promise<{ readonly graph: BlockGraph; readonly chain: readonly [ImageNode, ...ImageNode[]] }> {
  const graph = await graphOf(socket, disk);
  const key = await fileKey(active.path);
  const [root, ...backing] = chainsOf(graph).find(([top]) => top?.key === key) ?? [];
  if (!root || hasJob(root)) throw notServed(disk, active);
  await requireOpenImages(
    socket,
    [root, ...backing].map(({ path }) => ({ disk, path })),
  );
  return { graph, chain: [root, ...backing] };
}

/** True if the guest has the image open as an emulated drive, too, until its PV drivers unplug that. */
export function isOpenedTwice({ nodes }: BlockGraph, { key }: Pick<ImageNode, 'key'>): boolean {
  return nodes.filter((node) => node.key === key).length > 1;
}

/** Refuses (55) a disk whose image is open twice: what is done to one of both nodes, the other does not see. */
export function requireOpenedOnce(graph: BlockGraph, disk: string, root: ImageNode): void {
  if (!isOpenedTwice(graph, root)) return;
  const text = `disk '${disk}' is still used as an emulated drive beside its PV disk: wait until the guest has loaded its PV drivers`;
  throw new LibvirtError('OPERATION_INVALID', text);
}

/** OPERATION_INVALID (55). */
export function notServed(disk: string, { path }: DiskImage): LibvirtError {
  const text = `the device model does not use image '${path}' of disk '${disk}', or a job works on it`;
  return new LibvirtError('OPERATION_INVALID', text);
}

/** True while a job works on the disk's active image. */
export function hasJob({ driver }: ImageNode): boolean {
  return JOB_FILTERS.has(driver);
}

/** `root` and its backing chain, as far as QEMU has it open. */
function chainOf(graph: BlockGraph, root: ImageNode): readonly ImageNode[] {
  const backing = graph.nodes.find((node) => node.key === root.backingKey && !hasJob(node));
  return backing && backing.node !== root.node ? [root, ...chainOf(graph, backing)] : [root];
}

/** A name for a new node of this disk; QEMU allows 31 characters. */
export function freeNodeName({ nodes }: BlockGraph, disk: string): string {
  const taken = new Set(nodes.map(({ node }) => node));
  let n = 1;
  while (taken.has(`${disk}-snap${n}`)) n++;
  return `${disk}-snap${n}`;
}

/** xen-block's nodes and ours begin with the disk's name. */
function isNamedAfter(node: string, vdev: string): boolean {
  return node.startsWith(`${vdev}-`);
}

async function imageNode(info: BlockDeviceInfo): Promise<ImageNode> {
  const path = pathOf(info.file);
  const named = info.image['full-backing-filename'] ?? info.backing_file;
  const backing = named === undefined ? undefined : readBackingName(named, { overlay: path });
  return {
    node: info['node-name'],
    driver: info.drv,
    path,
    key: await fileKey(path),
    ...(backing?.kind === 'file'
      ? { backing: backing.path, backingKey: await fileKey(backing.path) }
      : backing && { backing: backing.name }),
    bytes: info.image['virtual-size'],
    cache: info.cache,
    snapshots: info.image.snapshots ?? [],
  };
}

/** For an overlay without a backing image QEMU reports its options as JSON; the path is among them. */
function pathOf(file: string): string {
  if (!file.startsWith('json:')) return file;
  const options = JSON.parse(file.slice('json:'.length)) as { readonly file?: { readonly filename?: string } };
  return options.file?.filename ?? file;
}
