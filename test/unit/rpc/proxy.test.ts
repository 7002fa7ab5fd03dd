import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { LIFECYCLE } from '../../../src/model/events.ts';
import { type Codec, nothing, string } from '../../../src/rpc/codec.ts';
import { LifecycleHub } from '../../../src/rpc/events.ts';
import { FrameSplitter } from '../../../src/rpc/frame-splitter.ts';
import { decodeHeader, encodeFrame, type FrameHeader, HEADER_BYTES, STATUS, TYPE } from '../../../src/rpc/frames.ts';
import { LIFECYCLE_EVENT, lifecycleFrame } from '../../../src/rpc/messages.ts';
import { CONNECT, PROCEDURES as P, type Procedure } from '../../../src/rpc/procedures.ts';
import { proxy } from '../../../src/rpc/proxy.ts';
import { type Listener, listen } from '../../../src/rpc/server.ts';
import { MemorySnapshots, NO_OVERLAYS } from '../../support/memory-snapshots.ts';
import { type Frame, RawClient } from '../../support/raw-client.ts';
import { rpcFixture } from '../../support/rpc-fixtures.ts';

const domain = { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: -1 };
const MIB = 1024 * 1024;
const SCREENSHOT = 211;

let directory: string;
let upstream: Server;
let listener: Listener;
let hub: LifecycleHub;
let snapshots: MemorySnapshots;
/** What the upstream does with each call; by default it is silent. */
let onFrame: (frame: Frame, socket: Socket) => void;
let upstreamSocket: Socket;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-unit-proxy-'));
  const path = join(directory, 'upstream');
  onFrame = () => {};
  upstream = createServer((socket) => {
    upstreamSocket = socket;
    socket.on('error', () => {});
    const splitter = new FrameSplitter({
      begin: () => 'whole',
      whole: (header, bytes) => onFrame({ header, bytes }, socket),
      pass: () => {},
    });
    socket.on('data', (chunk) => splitter.push(chunk));
  });
  upstream.listen(path);
  await once(upstream, 'listening');
  hub = new LifecycleHub();
  snapshots = new MemorySnapshots(hub);
  const handler = proxy({ upstream: path, snapshots, hub, overlaid: NO_OVERLAYS });
  listener = await listen({ path: join(directory, 'sock'), readOnly: false, mode: 0o600 }, handler);
});

afterEach(async () => {
  await listener[Symbol.asyncDispose]();
  upstreamSocket?.destroy();
  upstream.close();
  rmSync(directory, { recursive: true });
});

function answer<T>(socket: Socket, call: FrameHeader, result: Codec<T>, value: T): void {
  socket.write(encodeFrame({ ...call, type: TYPE.REPLY }, result, value));
}

/** An upstream that lets everybody in and gives registrations the callback ID 5. */
function hospitable({ header }: Frame, socket: Socket): void {
  const { procedure } = header;
  if (procedure === P.AUTH_LIST.number) answer(socket, header, P.AUTH_LIST.result, { types: [0] });
  if (procedure === P.CONNECT_OPEN.number) answer(socket, header, nothing, undefined);
  if (procedure === P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.number) {
    answer(socket, header, P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.result, { callbackID: 5 });
  }
}

async function opened(): Promise<RawClient> {
  onFrame = hospitable;
  return await RawClient.open(listener.path);
}

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

test('foreign frames arrive byte for byte, both ways, however they are cut', async () => {
  const client = await opened();
  const foreign = ['keepalive-ping', 'stream-data', 'domain-snapshot-delete-reply']
    .map(rpcFixture)
    .concat(streamFrame(100_001));
  const there: Buffer[] = [];
  onFrame = ({ bytes }) => there.push(bytes);
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

describe('a read-only client', () => {
  const flagsOf = (bytes: Buffer): number => bytes.readUInt32BE(bytes.length - 4);

  test.each([true, false])(
    'is opened read-only upstream, on its read-only socket if there is one: %p',
    async (there) => {
      const path = join(directory, 'upstream');
      const readOnlyUpstream = createServer((socket) => upstream.emit('connection', socket));
      let readOnlyConnections = 0;
      readOnlyUpstream.on('connection', () => {
        readOnlyConnections += 1;
      });
      if (there) readOnlyUpstream.listen(`${path}-ro`);
      const handler = proxy({ upstream: path, upstreamReadOnly: `${path}-ro`, snapshots, hub, overlaid: NO_OVERLAYS });
      await using readOnly = await listen({ path: join(directory, 'ro'), readOnly: true, mode: 0o600 }, handler);
      const opens: number[] = [];
      onFrame = (frame, socket) => {
        if (frame.header.procedure === P.CONNECT_OPEN.number) opens.push(flagsOf(frame.bytes));
        hospitable(frame, socket);
      };
      using client = await RawClient.open(readOnly.path, 'xen:///system', 0);
      expect(opens).toEqual([CONNECT.RO]);
      expect(readOnlyConnections).toBe(there ? 1 : 0);
      const snapshot = { name: 's', domain };
      expect(await client.error(client.send(P.DOMAIN_SNAPSHOT_DELETE, { snapshot, flags: 0 }))).toMatchObject({
        code: 29,
      });
      readOnlyUpstream.close();
    },
  );
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
      onFrame = ({ bytes }) => {
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
    expect(asked).toBe(20);
    client.socket.resume();
    for (const serial of serials) expect((await client.reply(serial)).header.length).toBeGreaterThan(MIB);
  });

  test('is given up when its events pile up', async () => {
    const client = await opened();
    await client.call(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, { eventID: 0, domain: null });
    client.socket.pause();
    const long = { ...domain, name: 'x'.repeat(MIB) };
    for (let round = 0; round < 70; round += 1) hub.emit(long, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
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
    onFrame = ({ header }, socket) => answer(socket, header, on.result as Codec<unknown>, { registered: 0 });
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
    onFrame = ({ header }, socket) => {
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

  test('only the reply to CONNECT_OPEN itself opens the connection', async () => {
    const client = new RawClient(listener.path);
    const asked: number[] = [];
    onFrame = ({ header }, socket) => {
      asked.push(header.procedure);
      if (header.procedure === P.AUTH_LIST.number) answer(socket, header, P.AUTH_LIST.result, { types: [2] });
    };
    client.send(P.CONNECT_OPEN, { name: null, flags: 0 }, { serial: 7 });
    client.send(P.AUTH_LIST, undefined, { serial: 7 });
    await client.reply(7);
    client.send(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0 });
    await delay(20);
    expect(asked).toEqual([P.CONNECT_OPEN.number, P.AUTH_LIST.number, P.DOMAIN_SNAPSHOT_NUM.number]);
    expect(client.frames).toEqual([]);
  });
});

describe('undefine', () => {
  const seen: { readonly header: FrameHeader; readonly flags: number }[] = [];

  async function undefining(): Promise<RawClient> {
    const client = await opened();
    seen.length = 0;
    onFrame = ({ header, bytes }, socket) => {
      seen.push({ header: decodeHeader(bytes), flags: bytes.readUInt32BE(bytes.length - 4) });
      answer(socket, header, nothing, undefined);
    };
    await snapshots.createXML(domain, '<name>s1</name>');
    return client;
  }

  test('goes to the upstream without the flag it does not know, and forgets the snapshots', async () => {
    const client = await undefining();
    await client.call(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 | 0x4 });
    expect(seen).toMatchObject([{ header: { procedure: P.DOMAIN_UNDEFINE_FLAGS.number, serial: 2 }, flags: 0x4 }]);
    expect(snapshots.count(domain.uuid)).toBe(0);
  });

  test('never gets there while there are snapshots', async () => {
    const client = await undefining();
    const detail = 'cannot delete inactive domain with 1 snapshots';
    expect(await client.error(client.send(P.DOMAIN_UNDEFINE, { domain }))).toMatchObject({ code: 55, str2: detail });
    expect(await client.error(client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 1 }))).toMatchObject({ code: 55 });
    expect(seen).toEqual([]);
  });

  test('that fails there leaves the snapshots', async () => {
    const client = await undefining();
    onFrame = ({ header }, socket) =>
      socket.write(encodeFrame({ ...header, type: TYPE.REPLY, status: STATUS.ERROR }, nothing, undefined));
    const call = client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 });
    expect((await client.reply(call)).header.status).toBe(STATUS.ERROR);
    expect(snapshots.count(domain.uuid)).toBe(1);
  });

  test('says so when the snapshots could not be forgotten', async () => {
    const client = await undefining();
    snapshots.forget = async () => {
      throw new LibvirtError('INTERNAL_ERROR', 'no space');
    };
    const call = client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 });
    expect(await client.error(call)).toMatchObject({ message: 'internal error: no space' });
  });
});

describe('what snapshots and their jobs change of other calls', () => {
  /** A client, and the procedures of the calls that have reached the upstream since. */
  async function watched(): Promise<{ readonly client: RawClient; readonly asked: number[] }> {
    const client = await opened();
    const asked: number[] = [];
    onFrame = ({ header }, socket) => {
      asked.push(header.procedure);
      answer(socket, header, nothing, undefined);
    };
    return { client, asked };
  }

  const migrations = [
    P.DOMAIN_MIGRATE_BEGIN3,
    P.DOMAIN_MIGRATE_PERFORM3,
    P.DOMAIN_MIGRATE_BEGIN3_PARAMS,
    P.DOMAIN_MIGRATE_PERFORM3_PARAMS,
  ];

  test.each(migrations)('a domain with snapshots is not migrated: $number', async (migrate) => {
    const { client, asked } = await watched();
    const rest = Buffer.from('0000000100000000', 'hex');
    await client.call(migrate, { domain, rest });
    expect(asked).toEqual([migrate.number]);
    await snapshots.createXML(domain, '<name>s1</name>');
    const refused = await client.error(client.send(migrate, { domain, rest }));
    expect(refused).toMatchObject({ code: 55, str2: 'cannot migrate domain with 1 snapshots' });
    expect(asked).toEqual([migrate.number]);
  });

  test('a job of ours is shown and aborted here; any other is the upstream’s', async () => {
    const { client, asked } = await watched();
    const { DOMAIN_GET_JOB_INFO, DOMAIN_GET_JOB_STATS, DOMAIN_ABORT_JOB } = P;
    client.send(DOMAIN_GET_JOB_INFO, { domain });
    client.send(DOMAIN_GET_JOB_STATS, { domain, flags: 0 });
    await client.call(DOMAIN_ABORT_JOB, { domain });
    expect(asked.splice(0)).toEqual([163, 298, 164]);
    let cancelled = 0;
    const job = { operation: 'revert', snapshot: 's1', started: Date.now(), phase: 'disks', progress: undefined };
    snapshots.jobs.set(domain.uuid, { ...job, cancel: () => (cancelled += 1) });
    expect((await client.call(DOMAIN_GET_JOB_INFO, { domain })).type).toBe(2);
    expect((await client.call(DOMAIN_GET_JOB_STATS, { domain, flags: 0 })).params[0]).toMatchObject({ value: 7 });
    await client.call(DOMAIN_ABORT_JOB, { domain });
    expect(cancelled).toBe(1);
    expect(asked).toEqual([]);
    await client.reply(client.send(DOMAIN_GET_JOB_STATS, { domain, flags: 1 }));
    expect(asked).toEqual([298]);
  });

  test('who may only look does not abort', async () => {
    onFrame = hospitable;
    using client = await RawClient.open(listener.path, 'xen:///system', CONNECT.RO);
    const asked: number[] = [];
    onFrame = ({ header }) => asked.push(header.procedure);
    const cancel = (): void => {
      throw new Error('aborted');
    };
    const job = { operation: 'create', snapshot: 's1', started: 0, phase: 'saving', progress: undefined, cancel };
    snapshots.jobs.set(domain.uuid, job);
    client.send(P.DOMAIN_ABORT_JOB, { domain });
    await client.call(P.DOMAIN_GET_JOB_INFO, { domain });
    expect(asked).toEqual([P.DOMAIN_ABORT_JOB.number]);
  });

  test('capabilities come with what can be done here', async () => {
    const client = await opened();
    const { result } = P.CONNECT_GET_CAPABILITIES;
    const value = '<capabilities>\n  <guest>\n    <os_type>xen</os_type>\n  </guest>\n</capabilities>\n';
    onFrame = ({ header }, socket) => answer(socket, header, result, { value });
    const seen = await client.call(P.CONNECT_GET_CAPABILITIES, undefined);
    const features = "    <features>\n      <disksnapshot default='on' toggle='no'/>\n    </features>\n";
    expect(seen.value).toBe(value.replace('  </guest>', `${features}  </guest>`));
  });
});
