/** A proxy before an upstream that the test plays, new for each test. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import type { DomainRef } from '../../../src/model/domain.ts';
import { proxy } from '../../../src/rpc/proxy/proxy.ts';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import { type Listener, listen } from '../../../src/rpc/server/server.ts';
import { type Codec, nothing } from '../../../src/rpc/wire/codec.ts';
import { FrameSplitter } from '../../../src/rpc/wire/frame-splitter.ts';
import { encodeFrame, type FrameHeader, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES as P } from '../../../src/rpc/wire/procedures.ts';
import { MemorySnapshots, NOTHING_ELSE } from '../fakes/snapshots-in-memory.ts';
import { type Frame, RawClient } from './raw-client.ts';

export const domain = { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: -1 };

/** Of the proxy's own AUTH_LIST, which the tests' upstreams need not answer. */
const OWN_SERIAL = 0xffff_ffff;

export let directory: string;
export let upstream: Server;
export let listener: Listener;
export let hub: LifecycleHub;
export let snapshots: MemorySnapshots;
/** What the upstream does with each call; by default it is silent. */
export const theUpstream: { onFrame(frame: Frame, socket: Socket): void } = { onFrame: () => {} };
export let upstreamSocket: Socket;
const clients: RawClient[] = [];
/** UUIDs of domains on overlays: tests put them there. */
export const overlaid = {
  uuids: new Set<string>(),
  any: () => overlaid.uuids.size > 0,
  has: (uuid: string) => overlaid.uuids.has(uuid),
  definition: (xml: string) => xml.replace('base', 'overlay'),
  checkUndefine: async ({ uuid }: { readonly uuid: string }) => overlaid.refuse(uuid, 'undefined'),
  checkMigrate: async ({ uuid }: { readonly uuid: string }) => overlaid.refuse(uuid, 'migrated'),
  refuse: (uuid: string, what: string): void => {
    if (overlaid.has(uuid))
      throw new LibvirtError('OPERATION_INVALID', `overlays of external snapshots: cannot be ${what}`);
  },
  /** UUIDs of the domains whose devices were looked at again. */
  looked: [] as string[],
  devicesChanged: async ({ uuid }: { readonly uuid: string }) => void overlaid.looked.push(uuid),
};
/** Saves that were carried out here. */
export const saves = {
  done: [] as unknown[],
  save: async (ref: DomainRef, request: object): Promise<void> => void saves.done.push([ref.uuid, request]),
  managedSave: async (ref: DomainRef, flags: number): Promise<void> => void saves.done.push([ref.uuid, flags]),
};
/** Reasons by UUID: tests put them there. */
export const reverted = {
  reasons: new Map<string, number>(),
  any: () => reverted.reasons.size > 0,
  reason: (uuid: string) => reverted.reasons.get(uuid),
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-unit-proxy-'));
  const path = join(directory, 'upstream');
  theUpstream.onFrame = () => {};
  upstream = createServer((socket) => {
    upstreamSocket = socket;
    socket.on('error', () => {});
    const splitter = new FrameSplitter({
      begin: () => 'whole',
      whole: (header, bytes) => {
        if (header.serial !== OWN_SERIAL) theUpstream.onFrame({ header, bytes }, socket);
      },
      pass: () => {},
    });
    socket.on('data', (chunk) => splitter.push(chunk));
  });
  upstream.listen(path);
  await once(upstream, 'listening');
  hub = new LifecycleHub();
  snapshots = new MemorySnapshots(hub);
  overlaid.uuids.clear();
  overlaid.looked.length = 0;
  saves.done.length = 0;
  reverted.reasons.clear();
  const handler = proxy({
    upstream: path,
    upstreamReadOnly: () => path,
    snapshots,
    hub,
    ...NOTHING_ELSE,
    saves,
    overlaid,
    reverted,
  });
  listener = await listen({ path: join(directory, 'sock'), readOnly: false, mode: 0o600 }, handler);
});

afterEach(async () => {
  // A listener that ends waits a while for its clients.
  for (const client of clients.splice(0)) client[Symbol.dispose]();
  await listener[Symbol.asyncDispose]();
  upstreamSocket?.destroy();
  upstream.close();
  rmSync(directory, { recursive: true });
});

export function answer<T>(socket: Socket, call: FrameHeader, result: Codec<T>, value: T): void {
  socket.write(encodeFrame({ ...call, type: TYPE.REPLY }, result, value));
}

/** An upstream that lets everybody in and gives registrations the callback ID 5. */
export function hospitable({ header }: Frame, socket: Socket): void {
  const { procedure } = header;
  if (procedure === P.AUTH_LIST.number) answer(socket, header, P.AUTH_LIST.result, { types: [0] });
  if (procedure === P.CONNECT_OPEN.number) answer(socket, header, nothing, undefined);
  if (procedure === P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.number) {
    answer(socket, header, P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.result, { callbackID: 5 });
  }
}

export async function opened(): Promise<RawClient> {
  theUpstream.onFrame = hospitable;
  const client = await RawClient.open(listener.path);
  clients.push(client);
  return client;
}
