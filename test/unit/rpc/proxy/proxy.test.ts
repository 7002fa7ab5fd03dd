import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { LIFECYCLE } from '../../../../src/model/events.ts';
import { proxy } from '../../../../src/rpc/proxy/proxy.ts';
import { listen } from '../../../../src/rpc/server/server.ts';
import { type Codec, nothing, string } from '../../../../src/rpc/wire/codec.ts';
import { DAEMON_STATUS } from '../../../../src/rpc/wire/daemon-program.ts';
import {
  decodeHeader,
  decodePayload,
  encodeFrame,
  HEADER_BYTES,
  PROGRAM,
  STATUS,
  TYPE,
} from '../../../../src/rpc/wire/frames.ts';
import { LIFECYCLE_EVENT, lifecycleFrame } from '../../../../src/rpc/wire/messages.ts';
import { CONNECT, PROCEDURES as P, type Procedure } from '../../../../src/rpc/wire/procedures.ts';
import { FAKE_STATUS, NOTHING_ELSE } from '../../../support/fakes/snapshots-in-memory.ts';
import { rpcFixture } from '../../../support/rpc/fixtures.ts';
import {
  answer,
  directory,
  domain,
  hospitable,
  hub,
  listener,
  opened,
  snapshots,
  theUpstream,
  upstream,
  upstreamSocket,
} from '../../../support/rpc/proxied.ts';
import { RawClient } from '../../../support/rpc/raw-client.ts';

jest.setTimeout(60_000);

const SCREENSHOT = 211;
const AUTH_HEADER = decodeHeader(rpcFixture('auth-list'));

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanup.splice(0)) end();
});

const MIB = 1024 * 1024;

const streamFrame = (bytes: number): Buffer => {
  const frame = Buffer.alloc(HEADER_BYTES + bytes);
  encodeFrame(
    { procedure: SCREENSHOT, type: TYPE.STREAM, serial: 9, status: STATUS.CONTINUE },
    nothing,
    undefined,
  ).copy(frame);
  frame.writeUInt32BE(frame.length, 0);
  return frame;
};

describe('the status of the daemon', () => {
  const ask = (client: RawClient, header = {}) =>
    client.send({ ...DAEMON_STATUS }, undefined, { program: PROGRAM.XLSNAP, ...header });

  test('is answered here, and the upstream hears nothing of it', async () => {
    const client = await opened();
    theUpstream.onFrame = () => {
      throw new Error('the upstream was asked');
    };
    const { header, bytes } = await client.reply(ask(client));
    expect(header).toMatchObject({ program: PROGRAM.XLSNAP, status: STATUS.OK });
    expect(decodePayload(DAEMON_STATUS.result, bytes)).toEqual(FAKE_STATUS);
  });

  test('is for connections that the upstream has let in', async () => {
    theUpstream.onFrame = hospitable;
    using client = new RawClient(listener.path);
    expect(await client.error(ask(client))).toMatchObject({
      message: 'internal error: hypervisor connection not open',
    });
  });

  test('other procedures and versions are refused as libvirtd would', async () => {
    const client = await opened();
    expect(await client.error(ask(client, { procedure: 99 }))).toMatchObject({ message: 'unknown procedure: 99' });
    expect(await client.error(ask(client, { version: 2 }))).toMatchObject({
      message: `Cannot find program ${PROGRAM.XLSNAP} version 2`,
    });
    expect((await client.reply(ask(client))).header.status).toBe(STATUS.OK);
  });
});

test('foreign frames arrive byte for byte, both ways, however they are cut', async () => {
  const client = await opened();
  const foreign = ['keepalive-ping', 'stream-data', 'connect-get-uri'].map(rpcFixture).concat(streamFrame(100_001));
  const there: Buffer[] = [];
  theUpstream.onFrame = ({ bytes }) => there.push(bytes);
  const bytes = Buffer.concat(foreign);
  for (let at = 0; at < bytes.length; at += 7_001) {
    client.socket.write(bytes.subarray(at, at + 7_001));
    upstreamSocket.write(bytes.subarray(at, at + 7_001));
    await delay(1);
  }
  const { bytes: last } = await client.next(({ header }) => header.length > 100_000);
  expect(Buffer.concat([...client.frames.map((frame) => frame.bytes), last]).equals(bytes)).toBe(true);
  expect(Buffer.concat(there).equals(bytes)).toBe(true);
});

test('nothing is put into a frame that is half-way through', async () => {
  const client = await opened();
  await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
  const big = streamFrame(50_000);
  upstreamSocket.write(big.subarray(0, 20_000));
  await delay(20);
  hub.emit(domain, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
  const num = client.send(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 });
  await delay(20);
  expect(client.frames).toEqual([]);
  upstreamSocket.write(big.subarray(20_000));
  await client.reply(num);
  expect(client.frames.map(({ header }) => header.procedure)).toEqual([SCREENSHOT, LIFECYCLE_EVENT]);
  expect(client.frames[0]?.bytes.equals(big)).toBe(true);
});

test.each([
  ['qemu:///system', 'xen:///system', 'xen:///system'],
  ['qemu:///session', 'xen:///system', 'qemu:///session'],
  ['qemu:///system', undefined, 'qemu:///system'],
])('%s on a socket where qemu:///system means %p is opened upstream as %s', async (asked, qemuSystem, opened) => {
  const path = join(directory, 'upstream');
  const handler = proxy({ upstream: path, upstreamReadOnly: () => path, snapshots, hub, ...NOTHING_ELSE });
  const options = { path: join(directory, 'qemu'), readOnly: false, mode: 0o600, ...(qemuSystem && { qemuSystem }) };
  await using served = await listen(options, handler);
  const names: unknown[] = [];
  theUpstream.onFrame = (frame, socket) => {
    if (frame.header.procedure === P.CONNECT_OPEN.number)
      names.push(decodePayload(P.CONNECT_OPEN.args, frame.bytes).name);
    hospitable(frame, socket);
  };
  using _client = await RawClient.open(served.path, asked, 0);
  expect(names).toEqual([opened]);
});

describe('a read-only client', () => {
  test('is opened read-only upstream, on the socket that is looked up when it connects', async () => {
    const sockets = ['first-ro', 'second-ro'].map((name) => join(directory, name));
    const came: string[] = [];
    for (const path of sockets) {
      const readOnlyUpstream = createServer((socket) => {
        came.push(path);
        upstream.emit('connection', socket);
      });
      cleanup.push(() => readOnlyUpstream.close());
      readOnlyUpstream.listen(path);
    }
    const path = join(directory, 'upstream');
    let connections = 0;
    const upstreamReadOnly = (): string => sockets[connections++] ?? 'none';
    const handler = proxy({ upstream: path, upstreamReadOnly, snapshots, hub, ...NOTHING_ELSE });
    await using readOnly = await listen({ path: join(directory, 'ro'), readOnly: true, mode: 0o600 }, handler);
    const opens: Buffer[] = [];
    theUpstream.onFrame = (frame, socket) => {
      if (frame.header.procedure === P.CONNECT_OPEN.number) opens.push(frame.bytes);
      hospitable(frame, socket);
    };
    for (const _ of sockets) {
      using client = await RawClient.open(readOnly.path, 'xen:///system', 0);
      const args = { snapshot: { name: 's', domain }, flags: 0 };
      expect(await client.error(client.send(P.DOMAIN_SNAPSHOT_DELETE, args))).toMatchObject({ code: 29 });
    }
    expect(came).toEqual(sockets);
    expect(opens.map((bytes) => bytes.readUInt32BE(bytes.length - 4))).toEqual([CONNECT.RO, CONNECT.RO]);
    // The third finds no socket, and is told so.
    using refused = new RawClient(readOnly.path);
    const { message } = await refused.error(refused.send(P.AUTH_LIST, undefined));
    expect(message).toBe("Failed to connect socket to 'none': No such file or directory");
  });
});

describe('a side that does not read', () => {
  const frame = streamFrame(262_120);
  const many = Array.from({ length: 200 }, () => frame);

  /** Sends `many`, one after the other; resolves with how many have gone when there is no more progress. */
  async function stuck(from: Socket): Promise<number> {
    let gone = 0;
    const send = (): void => {
      const bytes = many[gone];
      if (!bytes) return;
      from.write(bytes, () => {
        gone += 1;
        send();
      });
    };
    send();
    let last = -1;
    while (last !== gone) {
      last = gone;
      await delay(100);
    }
    return gone;
  }

  test('stops the client, when it is the upstream, and all arrives later', async () => {
    const client = await opened();
    upstreamSocket.pause();
    expect(await stuck(client.socket)).toBeLessThan(12);
    let seen = 0;
    const all = new Promise<void>((resolve) => {
      theUpstream.onFrame = ({ bytes }) => {
        if (bytes.equals(frame)) seen += 1;
        if (seen === many.length) resolve();
      };
    });
    upstreamSocket.resume();
    await all;
  });

  test('stops the upstream, when it is the client, and all arrives later', async () => {
    const client = await opened();
    client.socket.pause();
    expect(await stuck(upstreamSocket)).toBeLessThan(12);
    client.socket.resume();
    for (const _ of many) expect((await client.next(() => true)).bytes.equals(frame)).toBe(true);
  });

  test('and asks on and on is not listened to until it reads', async () => {
    const client = await opened();
    let asked = 0;
    snapshots.getXMLDesc = async () => {
      asked += 1;
      return 'x'.repeat(MIB);
    };
    client.socket.pause();
    const ask = (): number =>
      client.send(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot: { name: 's', domain }, flags: 0 });
    const serials = Array.from({ length: 100 }, ask);
    await delay(200);
    expect(asked).toBeLessThan(3);
    client.socket.resume();
    for (const serial of serials) expect((await client.reply(serial)).header.length).toBeGreaterThan(MIB);
  });

  test('is given up when its events pile up', async () => {
    const client = await opened();
    await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
    client.socket.pause();
    const long = { ...domain, name: 'x'.repeat(65_000) };
    for (let round = 0; round < 1_200; round += 1) hub.emit(long, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
    client.socket.resume();
    await client.closed();
  });
});

describe('the upstream’s words', () => {
  test('an event is rewritten for the callback, with the upstream’s domain', async () => {
    const client = await opened();
    await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
    hub.expect(domain.uuid, LIFECYCLE.STARTED_RESTORED, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    hub.expect(domain.uuid, LIFECYCLE.STOPPED_SAVED);
    const now = { ...domain, name: 'renamed', id: 9 };
    upstreamSocket.write(lifecycleFrame(5, now, LIFECYCLE.STOPPED_SAVED));
    upstreamSocket.write(lifecycleFrame(5, now, LIFECYCLE.STARTED_RESTORED));
    const { bytes } = await client.next(({ header }) => header.procedure === LIFECYCLE_EVENT);
    expect(bytes).toEqual(lifecycleFrame(5, now, LIFECYCLE.STARTED_FROM_SNAPSHOT));
    expect(client.frames).toEqual([]);
  });

  test.each([
    ['CONNECT_DOMAIN_EVENT_REGISTER', P.CONNECT_DOMAIN_EVENT_REGISTER, undefined, P.CONNECT_DOMAIN_EVENT_DEREGISTER],
    [
      'CONNECT_DOMAIN_EVENT_REGISTER_ANY',
      P.CONNECT_DOMAIN_EVENT_REGISTER_ANY,
      { eventID: 0 },
      P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY,
    ],
  ])('events of both sides come to a client from before 1.2.1, which has no number: %s', async (_, on, args, off) => {
    const client = await opened();
    theUpstream.onFrame = ({ header }, socket) =>
      answer(socket, header, on.result as Codec<unknown>, { registered: 0 });
    await client.call(on as Procedure<unknown, unknown>, args);
    hub.expect(domain.uuid, LIFECYCLE.STARTED_RESTORED, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    hub.expect(domain.uuid, LIFECYCLE.STOPPED_SAVED);
    upstreamSocket.write(lifecycleFrame('legacy', domain, LIFECYCLE.STOPPED_SAVED));
    upstreamSocket.write(lifecycleFrame('legacy', domain, LIFECYCLE.STARTED_RESTORED));
    const { bytes } = await client.next(() => true);
    expect(bytes).toEqual(lifecycleFrame('legacy', domain, LIFECYCLE.STARTED_FROM_SNAPSHOT));
    hub.emit(domain, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
    expect((await client.next(() => true)).bytes).toEqual(
      lifecycleFrame('legacy', domain, LIFECYCLE.RESUMED_FROM_SNAPSHOT),
    );
    await client.call(off as Procedure<unknown, unknown>, args);
    hub.emit(domain, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
    await client.reply(client.send(P.CONNECT_GET_URI, undefined));
    expect(client.frames).toEqual([]);
  });

  test('a reply with file descriptors becomes a refusal, and the stream stays in step', async () => {
    const client = await opened();
    theUpstream.onFrame = ({ header }, socket) => {
      socket.write(encodeFrame({ ...header, type: TYPE.REPLY_WITH_FDS }, string, ''));
      answer(socket, { ...header, serial: 77 }, nothing, undefined);
    };
    const call = client.send({ number: 343, args: nothing, result: nothing }, undefined);
    expect(await client.error(call)).toMatchObject({ code: 3, domain: 7 });
    expect((await client.reply(77)).header.status).toBe(STATUS.OK);
  });

  test('that cannot be decoded end that connection only', async () => {
    const [client, other] = [await opened(), await opened()];
    const event = lifecycleFrame(5, domain, LIFECYCLE.STOPPED_SAVED).subarray(0, 40);
    event.writeUInt32BE(40, 0);
    upstreamSocket.write(event);
    await other.closed();
    const num = client.send(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 });
    expect((await client.reply(num)).header.status).toBe(STATUS.OK);
  });

  test('only the reply to CONNECT_OPEN itself opens the connection; until then nothing else is read', async () => {
    const client = new RawClient(listener.path);
    const asked: number[] = [];
    theUpstream.onFrame = ({ header }, socket) => {
      asked.push(header.procedure);
      if (header.procedure === P.AUTH_LIST.number) answer(socket, header, P.AUTH_LIST.result, { types: [2] });
    };
    client.send(P.AUTH_LIST, undefined, { serial: 7 });
    await client.reply(7);
    client.send(P.CONNECT_OPEN, { name: null, flags: 0 }, { serial: 7 });
    const early = client.send(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 });
    await delay(20);
    answer(upstreamSocket, { ...AUTH_HEADER, serial: 7 }, P.AUTH_LIST.result, { types: [2] });
    await delay(20);
    expect(asked).toEqual([P.AUTH_LIST.number, P.CONNECT_OPEN.number]);
    expect(client.frames.length).toBe(1);
    answer(upstreamSocket, { ...AUTH_HEADER, serial: 7, procedure: P.CONNECT_OPEN.number }, nothing, undefined);
    expect((await client.reply(early)).header.status).toBe(STATUS.OK);
    expect(asked).toEqual([P.AUTH_LIST.number, P.CONNECT_OPEN.number]);
  });
});
