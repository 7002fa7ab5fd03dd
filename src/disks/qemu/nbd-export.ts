/** A disk as a snapshot has it, served read-only on a UNIX socket by qemu-nbd, for programs that speak NBD. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import { requireFiles } from '../chain/chains.ts';
import { missingProgram, type Program, terminate } from '../program.ts';
import { imageOptions } from './qemu-img.ts';

/** The program, and the package that has it. */
export const QEMU_NBD: Program = { name: 'qemu-nbd', debianPackage: 'qemu-utils' };

const START_TIMEOUT_MS = 10_000;
const START_POLL_MS = 50;

/** Where QEMU finds a disk's contents: in an image as it is now, or in one of its internal snapshots. */
export interface CapturedContents {
  readonly image: DiskImage;
  readonly snapshotId?: string;
}

/**
 * Arguments of qemu-nbd that serve the contents to one client at a time, and end with it. Refuses (CONFIG_UNSUPPORTED) a text
 * that is not a format: documents of snapshots have any.
 */
export function exportArgs({ image, snapshotId }: CapturedContents, socket: string): readonly string[] {
  // Without locks: another QEMU may write to the image, but not to what a snapshot of it holds.
  const options = `${imageOptions(image)},file.locking=off`;
  const snapshot = snapshotId === undefined ? [] : ['-l', `snapshot.id=${snapshotId}`];
  return ['-r', '-k', socket, ...snapshot, '--image-opts', options];
}

/** A running qemu-nbd, until it is disposed of. */
export class NbdServer implements AsyncDisposable {
  /** Resolves when it has ended, with what it has said: also if nobody has asked it to. */
  readonly ended: Promise<string>;
  readonly #server: ChildProcess;

  private constructor(server: ChildProcess, stderr: Readable) {
    this.#server = server;
    const said = text(stderr).catch(() => '');
    this.ended = once(server, 'close').then(async () => (await said).trim());
  }

  /** `detached`: in a process group of its own. Undefined if the program is missing. */
  static start(args: readonly string[], { detached = false } = {}): NbdServer | undefined {
    const server = spawn(QEMU_NBD.name, args, {
      ...{ stdio: ['ignore', 'ignore', 'pipe'], detached },
      env: { ...process.env, LC_ALL: 'C' },
    });
    if (server.pid !== undefined) return new NbdServer(server, server.stderr);
    server.on('error', () => {});
    return undefined;
  }

  get isAlive(): boolean {
    return this.#server.exitCode === null && this.#server.signalCode === null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isAlive) return;
    const killTimer = terminate(this.#server);
    await this.ended;
    clearTimeout(killTimer);
  }
}

/**
 * Serves any number of clients. Resolves when the first one can connect to `socket`. Refuses (OPERATION_FAILED) what qemu-nbd
 * cannot serve, in its words.
 */
export async function serveContents(contents: CapturedContents, socket: string): Promise<NbdServer> {
  const refuse = (reason: string): LibvirtError =>
    new LibvirtError('OPERATION_FAILED', `cannot serve image '${contents.image.path}': ${reason}`);
  const args = ['--persistent', '--shared=0', ...exportArgs(contents, socket)];
  // qemu-nbd opens the whole chain, and would wait for a pipe in it.
  await requireFiles(contents.image).catch((error) => {
    throw refuse(asLibvirtError(error).detail);
  });
  // In a group of its own: Ctrl-C at a terminal reaches the one who started it, who ends it.
  const server = NbdServer.start(args, { detached: true });
  if (!server) throw refuse(missingProgram(QEMU_NBD));
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; await sleep(START_POLL_MS)) {
    if (!server.isAlive) throw refuse(await server.ended);
    if (await greets(socket)) return server;
  }
  await server[Symbol.asyncDispose]();
  throw refuse(`qemu-nbd did not start to serve within ${START_TIMEOUT_MS / 1000} seconds`);
}

/** A server that has accepted a connection may still find that it cannot open the image: one that greets has opened it. */
async function greets(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    await once(socket, 'data', { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
