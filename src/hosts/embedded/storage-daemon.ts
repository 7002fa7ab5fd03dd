/**
 * qemu-storage-daemon as the device model of an embedded domain: the same QEMU block layer, QMP and node names as a Xen
 * guest's qdisk backend has, without a guest. Each disk is also exported over NBD, so that anyone may play the guest's
 * disk driver: `qemu-io -f raw 'nbd+unix:///xvda?socket=<state dir>/<id>.nbd'`.
 */

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Program } from '../../disks/program.ts';
import { type DiskNode, diskNode } from '../../disks/qemu/block-graph.ts';
import { isQcow2Image } from '../../disks/qemu/qcow2-table.ts';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import { DaemonProcess, endLeftover } from './daemon-process.ts';

const STORAGE_DAEMON: Program = { name: 'qemu-storage-daemon', debianPackage: 'qemu-system-common' };

/** sizeof(sun_path) - 1 on Linux. */
const MAX_SOCKET_PATH_BYTES = 107;
/** Every file of one run of a domain in the state folder is `<id>.<one of these>`. */
const RUN_FILE = /^\d+\.(pid|log|qmp|nbd|ram)$/;

/** The device model of one run. */
export class StorageDaemon implements AsyncDisposable {
  readonly qmpSocket: string;
  readonly nbdSocket: string;
  readonly #nodes: readonly DiskNode[];
  readonly #process: DaemonProcess;

  private constructor(sockets: Sockets, disks: readonly LibxlDeviceDisk[], process: DaemonProcess) {
    this.qmpSocket = sockets.qmp;
    this.nbdSocket = sockets.nbd;
    this.#nodes = disks.map(diskNode);
    this.#process = process;
  }

  /**
   * Opens those of `disks` that are images: a file or a block device, qcow2 or raw as the definition says. Rejects if
   * one cannot be read.
   */
  static async start(folder: string, id: number, disks: readonly LibxlDeviceDisk[]): Promise<StorageDaemon> {
    const opened: LibxlDeviceDisk[] = [];
    const exported: string[] = [];
    for (const disk of disks) {
      const protocol = await protocolOf(disk);
      if (!protocol) continue;
      opened.push(disk);
      exported.push(...exportedDisk(disk, protocol));
    }
    const sockets = { qmp: join(folder, `${id}.qmp`), nbd: join(folder, `${id}.nbd`) };
    refuseLongPath(sockets.qmp);
    try {
      const process = await DaemonProcess.start({
        program: STORAGE_DAEMON,
        args: [
          ...['--chardev', options('socket', 'id=qmp', `path=${sockets.qmp}`, 'server=on', 'wait=off')],
          ...['--monitor', 'chardev=qmp'],
          ...['--nbd-server', options('addr.type=unix', `addr.path=${sockets.nbd}`)],
          ...exported,
        ],
        pidFile: join(folder, `${id}.pid`),
        logFile: join(folder, `${id}.log`),
      });
      return new StorageDaemon(sockets, opened, process);
    } catch (error) {
      await removeSockets(sockets);
      const text = `cannot start the device model: ${asLibvirtError(error).detail}`;
      throw new LibvirtError('OPERATION_FAILED', text, { cause: error });
    }
  }

  /** The disk's node. Refuses a disk that could not be opened when the domain started. */
  node(disk: string): DiskNode {
    const found = this.#nodes.find((node) => node.disk === disk);
    if (found) return found;
    const text = `disk '${disk}' has no image that could be opened when the domain started`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }

  /** Its images are closed when this returns. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await removeSockets({ qmp: this.qmpSocket, nbd: this.nbdSocket });
  }
}

interface Sockets {
  readonly qmp: string;
  readonly nbd: string;
}

/** Ends the device models that a killed host has left running, and removes their files in its state folder. */
export async function endLeftovers(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => RUN_FILE.test(file)).map((file) => join(folder, file));
  for (const file of files) if (file.endsWith('.pid')) await endLeftover(STORAGE_DAEMON, file);
  for (const file of files) await rm(file, { force: true });
}

/** QEMU removes its QMP socket when it ends normally; a killed QEMU leaves both. */
async function removeSockets({ qmp, nbd }: Sockets): Promise<void> {
  for (const socket of [qmp, nbd]) await rm(socket, { force: true });
}

/** QEMU's driver for the image's file; undefined if the image cannot be opened. */
async function protocolOf({ pdev_path: path, format }: LibxlDeviceDisk): Promise<'file' | 'host_device' | undefined> {
  if (path === undefined) return undefined;
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() && !found?.isBlockDevice()) return undefined;
  if (format !== 'raw' && !(format === 'qcow2' && (await isQcow2Image(path)))) return undefined;
  return found.isFile() ? 'file' : 'host_device';
}

function exportedDisk(disk: LibxlDeviceDisk, protocol: string): readonly string[] {
  const { vdev, format = '', pdev_path: path = '', readwrite } = disk;
  const { node } = diskNode(disk);
  const blockdev = [`driver=${format}`, `node-name=${node}`, `file.driver=${protocol}`, `file.filename=${path}`];
  return [
    ...['--blockdev', options(...blockdev, `read-only=${readwrite ? 'off' : 'on'}`)],
    ...[
      '--export',
      options('type=nbd', `id=${node}`, `node-name=${node}`, `name=${vdev}`, `writable=${readwrite ? 'on' : 'off'}`),
    ],
  ];
}

/** A key=value list for QEMU, in which a comma inside a value is doubled. */
function options(...list: readonly string[]): string {
  return list.map((option) => option.replaceAll(',', ',,')).join(',');
}

function refuseLongPath(socket: string): void {
  const bytes = Buffer.byteLength(socket);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  const text = `socket path '${socket}' has ${bytes} bytes, more than the ${MAX_SOCKET_PATH_BYTES} that Linux allows: choose a shorter --state-dir`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
