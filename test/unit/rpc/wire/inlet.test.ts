import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { isLibvirtError } from '../../../../src/errors.ts';
import { nothing } from '../../../../src/rpc/wire/codec.ts';
import type { Wanted } from '../../../../src/rpc/wire/frame-splitter.ts';
import { encodeFrame, HEADER_BYTES, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { Inlet } from '../../../../src/rpc/wire/inlet.ts';
import { Turns } from '../../../../src/rpc/wire/turns.ts';
import { rpcFixture } from '../../../support/rpc/fixtures.ts';

let directory: string;
let server: Server;
let accepted: Socket;
let peer: Socket;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-unit-inlet-'));
  server = createServer();
  server.listen(join(directory, 'sock'));
  await once(server, 'listening');
});

afterEach(() => {
  peer.destroy();
  accepted?.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

/** A connection to `peer`, taken over. */
async function taken(): Promise<Inlet> {
  const accepting = once(server, 'connection').then(([socket]) => {
    accepted = (socket as Socket).on('error', () => {});
    return Inlet.over(accepted);
  });
  peer = connect(join(directory, 'sock')).on('error', () => {});
  return await accepting;
}

/** A frame of 1 MiB, each of its words another. */
function bigFrame(serial: number): Buffer {
  const frame = Buffer.alloc(1024 * 1024);
  encodeFrame({ procedure: 211, type: TYPE.STREAM, serial }, nothing, undefined).copy(frame);
  frame.writeUInt32BE(frame.length, 0);
  for (let at = HEADER_BYTES; at < frame.length; at += 4) frame.writeUInt32BE(serial * frame.length + at, at);
  return frame;
}

const AT_ONCE = { regulate: () => {}, takeTurns: (step: () => boolean) => new Turns().join('write', step) };

const ignored = { begin: () => 'drop' as const, whole: () => {}, pass: () => {} };

test('what comes before anybody reads is not lost', async () => {
  const inlet = await taken();
  peer.write(rpcFixture('domain-snapshot-create-xml'));
  await delay(20);
  const frame = new Promise<Buffer>((resolve) => {
    const sink = { ...ignored, begin: () => 'whole' as const, whole: (_: unknown, bytes: Buffer) => resolve(bytes) };
    inlet.start({ sink, ...AT_ONCE });
  });
  expect(await frame).toEqual(rpcFixture('domain-snapshot-create-xml'));
});

/** A turn that comes late, as on a daemon with much to do. */
const LATE = {
  takeTurns: (step: () => boolean) => {
    const ask = (): void => void setTimeout(() => step() && ask(), 2);
    return { ask };
  },
};

test.each([
  ['taken at once', AT_ONCE],
  ['taken late', LATE],
])('bytes that wait to be written are left alone, however long they wait: %s', async (_when, { takeTurns }) => {
  const inlet = await taken();
  const target = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const into = Inlet.connecting(join(directory, 'sock'));
  const reader = (await target).pause();
  const sink = { ...ignored, begin: () => 'pass' as const, pass: (bytes: Buffer) => void into.socket.write(bytes) };
  inlet.start({ sink, takeTurns, regulate: () => inlet.flow(true), into: into.socket });
  const frames = [1, 2, 3, 4].map(bigFrame);
  for (const frame of frames) peer.write(frame);
  await delay(50);
  expect(peer.writableLength).toBeGreaterThan(0);
  const wanted = Buffer.concat(frames);
  const pieces: Buffer[] = [];
  for await (const piece of reader) {
    pieces.push(piece);
    if (pieces.reduce((sum, { length }) => sum + length, 0) >= wanted.length) break;
  }
  expect(Buffer.concat(pieces).equals(wanted)).toBe(true);
  into.socket.destroy();
});

test('nothing is read while the flow is off', async () => {
  const inlet = await taken();
  let begun = 0;
  const begin = (): Wanted => {
    begun += 1;
    return 'drop';
  };
  inlet.start({ sink: { ...ignored, begin }, ...AT_ONCE });
  inlet.flow(false);
  peer.write(rpcFixture('domain-snapshot-delete-reply'));
  await delay(20);
  expect(begun).toBe(0);
  inlet.flow(true);
  for (const end = Date.now() + 5_000; begun === 0 && Date.now() < end; ) await delay(5);
  expect(begun).toBe(1);
});

test('a stream that is none of frames ends both sockets, with the reason for who listens', async () => {
  const inlet = await taken();
  inlet.start({ sink: ignored, ...AT_ONCE });
  const error = once(accepted, 'error');
  const closed = new Promise((resolve) => inlet.socket.once('close', resolve));
  peer.write(Buffer.from('0000000300000000000000000000000000000000000000000000000000000000', 'hex'));
  const [reason] = await error;
  expect(isLibvirtError(reason, 'RPC') && reason.message).toBe('packet of 3 bytes is too small, want 28');
  await closed;
  await once(peer.resume(), 'close');
});

test('either side that ends takes the connection with it, and the server is rid of it', async () => {
  for (const end of ['peer', 'inlet', 'accepted'] as const) {
    const inlet = await taken();
    inlet.start({ sink: ignored, ...AT_ONCE });
    const closed = Promise.all([inlet.socket, accepted, peer.resume()].map((socket) => once(socket, 'close')));
    ({ peer, inlet: inlet.socket, accepted })[end].destroy();
    await closed;
  }
  await new Promise((resolve) => server.close(resolve));
});
