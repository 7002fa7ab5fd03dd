/**
 * The contents of a disk as a guest reads them, from any image format and any internal snapshot: qemu-nbd serves them, read
 * only, to this process alone. Nothing is copied to a file. (NBD: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md)
 */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import { missingProgram } from '../program.ts';
import { exportArgs, NbdServer, QEMU_NBD } from './nbd-export.ts';

const START_TIMEOUT_MS = 10_000;
const START_POLL_MS = 20;
/** The longest pause of a slow disk. */
const SILENCE_TIMEOUT_MS = 60_000;
const READ_BYTES = 2 << 20;

const IHAVEOPT = 0x49484156454f5054n;
const GREETING_BYTES = 18;
const EXPORT_BYTES = 10;
const REPLY_BYTES = 16;
const CLIENT_FLAGS = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;
const OPTION_EXPORT_NAME = 1;
const REQUEST_MAGIC = 0x25609513;
const COMMAND = { READ: 0, DISCONNECT: 2 } as const;

/** From the first byte of the disk to its last, in blocks. `snapshotId`: of an internal snapshot, else as the image is now. */
export async function* diskContents(image: DiskImage, snapshotId?: string): AsyncGenerator<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'xlsnap-nbd-'));
  try {
    const path = join(folder, 'nbd');
    const args = exportArgs({ image, ...(snapshotId !== undefined && { snapshotId }) }, path);
    await using server = NbdServer.start(args);
    if (!server) throw failure(image, missingProgram(QEMU_NBD));
    try {
      const socket = await connectWhenThere(path, () => server.isAlive);
      if (!socket) throw failure(image, `qemu-nbd did not start to serve within ${START_TIMEOUT_MS / 1000} seconds`);
      yield* blocks(socket, image);
    } catch (error) {
      // qemu-nbd may have accepted the connection before it found that it cannot serve the image.
      await server[Symbol.asyncDispose]();
      const words = await server.ended;
      if (error instanceof LibvirtError && words === '') throw error;
      throw failure(image, words || (error as Error).message);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function failure({ path }: DiskImage, reason: string): LibvirtError {
  return new LibvirtError('OPERATION_FAILED', `cannot read the disk in image '${path}': ${reason}`);
}

/** Undefined if the server has ended, or takes too long. */
async function connectWhenThere(path: string, isAlive: () => boolean): Promise<Socket | undefined> {
  for (const end = Date.now() + START_TIMEOUT_MS; isAlive() && Date.now() < end; await setTimeout(START_POLL_MS)) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch {
      socket.destroy();
    }
  }
  return undefined;
}

async function* blocks(socket: Socket, image: DiskImage): AsyncGenerator<Buffer> {
  socket.setTimeout(SILENCE_TIMEOUT_MS, () => socket.destroy(failure(image, 'qemu-nbd does not answer')));
  const take = taker(socket, image);
  try {
    await take(GREETING_BYTES);
    socket.write(hello());
    const size = (await take(EXPORT_BYTES)).readBigUInt64BE(0);
    for (let offset = 0n; offset < size; offset += BigInt(READ_BYTES)) {
      const left = size - offset;
      const length = left < READ_BYTES ? Number(left) : READ_BYTES;
      socket.write(request(COMMAND.READ, offset, length));
      const error = (await take(REPLY_BYTES)).readUInt32BE(4);
      if (error !== 0) throw failure(image, `qemu-nbd has error ${error} at byte ${offset}`);
      yield await take(length);
    }
    socket.end(request(COMMAND.DISCONNECT, 0n, 0));
  } finally {
    socket.destroy();
  }
}

/** Asks for the export with no name, which is qemu-nbd's only one. */
function hello(): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt32BE(CLIENT_FLAGS.FIXED_NEWSTYLE | CLIENT_FLAGS.NO_ZEROES, 0);
  bytes.writeBigUInt64BE(IHAVEOPT, 4);
  bytes.writeUInt32BE(OPTION_EXPORT_NAME, 12);
  return bytes;
}

function request(type: number, offset: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(type, 6);
  bytes.writeBigUInt64BE(offset, 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** Returns a function that reads the next `length` bytes. */
function taker(socket: Socket, image: DiskImage): (length: number) => Promise<Buffer> {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  let rest: Buffer = Buffer.alloc(0);
  return async (length) => {
    const parts = [rest];
    for (let have = rest.length; have < length; ) {
      const { value } = await chunks.next();
      if (!value) throw failure(image, 'qemu-nbd has ended early');
      parts.push(value);
      have += value.length;
    }
    const bytes = Buffer.concat(parts);
    rest = bytes.subarray(length);
    return bytes.subarray(0, length);
  };
}
