/**
 * qemu-storage-daemon as the device model of an embedded domain: the same QEMU block layer, QMP and node names as a Xen
 * guest's qdisk backend has, without a guest. Each disk is also exported over NBD, so that anyone may play the guest's
 * disk driver: `qemu-io -f raw 'nbd+unix:///xvda?socket=<state dir>/<id>.nbd'`.
 */

import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DiskNode, diskNode } from '../disks/internal-snapshots.ts';
import { type Program, runProgram } from '../disks/program.ts';
import { isQcow2Image } from '../disks/qcow2.ts';
import { LibvirtError } from '../errors.ts';
import type { LibxlDeviceDisk } from '../model/libxl.ts';

const STORAGE_DAEMON: Program = { name: 'qemu-storage-daemon', debianPackage: 'qemu-system-common' };

/** sizeof(sun_path) - 1 on Linux. */
const MAX_SOCKET_PATH_BYTES = 107;
/** Closing the images takes as long as flushing them. */
const STOP_TIMEOUT_MS = 10_000;
const STOP_POLL_MS = 10;

/** Every file of one run of a domain in the state folder is `<id>.<one of these>`. */
const RUN_FILE = /^\d+\.(pid|qmp|nbd|ram)$/;

/** The device model of one run. */
export class StorageDaemon implements AsyncDisposable {
  readonly qmpSocket: string;
  readonly nbdSocket: string;
  readonly #nodes: readonly DiskNode[];
  readonly #pidFile: string;

  private constructor(folder: string, id: number, disks: readonly LibxlDeviceDisk[]) {
    this.qmpSocket = join(folder, `${id}.qmp`);
    this.nbdSocket = join(folder, `${id}.nbd`);
    this.#pidFile = join(folder, `${id}.pid`);
    this.#nodes = disks.map(diskNode);
  }

  /** Opens what can be opened of `disks`: image files that exist, qcow2 or raw as the definition says. */
  static async start(folder: string, id: number, disks: readonly LibxlDeviceDisk[]): Promise<StorageDaemon> {
    const opened: LibxlDeviceDisk[] = [];
    for (const disk of disks) if (await canOpen(disk)) opened.push(disk);
    const daemon = new StorageDaemon(folder, id, opened);
    refuseLongPath(daemon.qmpSocket);
    // --daemonize returns once images, sockets and pid file are there, or says why not.
    await runProgram(
      STORAGE_DAEMON,
      [
        ...['--daemonize', '--pidfile', daemon.#pidFile],
        ...['--chardev', options('socket', 'id=qmp', `path=${daemon.qmpSocket}`, 'server=on', 'wait=off')],
        ...['--monitor', 'chardev=qmp'],
        ...['--nbd-server', options('addr.type=unix', `addr.path=${daemon.nbdSocket}`)],
        ...opened.flatMap(exportedDisk),
      ],
      'cannot start the device model',
    );
    return daemon;
  }

  /** The disk's node. Refuses a disk that could not be opened when the domain started. */
  node(disk: string): DiskNode {
    const found = this.#nodes.find((node) => node.disk === disk);
    if (found) return found;
    const text = `disk '${disk}' has no image that could be opened when the domain started`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }

  /** Ends the process; its images are closed when this returns. */
  async [Symbol.asyncDispose](): Promise<void> {
    await endDaemon(this.#pidFile);
    // QEMU removes its own, but for the NBD socket; a killed one leaves all.
    for (const file of [this.#pidFile, this.qmpSocket, this.nbdSocket]) await rm(file, { force: true });
  }
}

/** Ends what a host that was killed has left running in its state folder, and removes the files. */
export async function endLeftovers(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => RUN_FILE.test(file)).map((file) => join(folder, file));
  for (const file of files) if (file.endsWith('.pid')) await endDaemon(file);
  for (const file of files) await rm(file, { force: true });
}

async function canOpen({ pdev_path: path, format }: LibxlDeviceDisk): Promise<boolean> {
  if (path === undefined) return false;
  if (format === 'qcow2') return isQcow2Image(path);
  if (format !== 'raw') return false;
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

function exportedDisk(disk: LibxlDeviceDisk): readonly string[] {
  const { vdev, format = '', pdev_path: path = '', readwrite } = disk;
  const { node } = diskNode(disk);
  const blockdev = [`driver=${format}`, `node-name=${node}`, 'file.driver=file', `file.filename=${path}`];
  return [
    ...['--blockdev', options(...blockdev, `read-only=${readwrite ? 'off' : 'on'}`)],
    ...[
      '--export',
      options('type=nbd', `id=${node}`, `node-name=${node}`, `name=${vdev}`, `writable=${readwrite ? 'on' : 'off'}`),
    ],
  ];
}

/** QEMU's key=value list: a comma inside a value is doubled. */
function options(...list: readonly string[]): string {
  return list.map((option) => option.replaceAll(',', ',,')).join(',');
}

function refuseLongPath(socket: string): void {
  const bytes = Buffer.byteLength(socket);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  const text = `socket path '${socket}' has ${bytes} bytes, more than the ${MAX_SOCKET_PATH_BYTES} that Linux allows: choose a shorter --state-dir`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/** Asks the process of a pid file to end, and makes it end when it does not listen. A pid that is not ours is left alone. */
async function endDaemon(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!(pid > 0) || !(await isDaemonOf(pid, pidFile))) return;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    process.kill(pid, signal);
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < deadline) {
      if (await hasEnded(pid)) return;
      await sleep(STOP_POLL_MS);
    }
  }
  throw new LibvirtError('OPERATION_FAILED', `qemu-storage-daemon (process ${pid}) does not end`);
}

async function isDaemonOf(pid: number, pidFile: string): Promise<boolean> {
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return args[0] === STORAGE_DAEMON.name && args.includes(pidFile);
}

/** Gone, or a zombie, which has closed its files already. */
async function hasEnded(pid: number): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return /^$|\) [ZX] /.test(text);
}
