import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { LibvirtError, receivedError } from '../../../../src/errors.ts';
import type { DomainRef } from '../../../../src/model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../../../src/model/events.ts';
import { CALLS } from '../../../../src/rpc/client/calls.ts';
import { RpcClient } from '../../../../src/rpc/client/client.ts';
import { nothing } from '../../../../src/rpc/wire/codec.ts';
import { decodePayload, encodeFrame, KEEPALIVE, PROGRAM, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { lifecycleFrame, replyFrame } from '../../../../src/rpc/wire/messages.ts';
import { refusal } from '../../../support/refusal.ts';
import { Peer } from '../../../support/rpc/peer.ts';
import { until } from '../../../support/until.ts';

const URI = 'xen:///system';
const GUEST: DomainRef = { name: 'g', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 3 };
const POLL_MS = 10;
const PING_INTERVAL_MS = 5_000;
const PINGS_MAX = 6;

let directory: string;
let peer: Peer;
let client: RpcClient | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'xlsnap-client-'));
  peer = new Peer(join(directory, 'sock'));
  await peer.listen();
});

afterEach(async () => {
  client?.[Symbol.dispose]();
  client = undefined;
  await peer[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function connected(): Promise<RpcClient> {
  client = await RpcClient.connect({ path: peer.path, uri: URI });
  return client;
}

test.each([
  ['of its own processes', process.pid, true],
  ['that cannot be seen from here, as from another process namespace', 0, false],
  ['that has gone', 2 ** 22 + 1, false],
])('it knows whether /proc is the same for a libvirtd %s', async (_, pid, shared) => {
  const peerOf = () => ({ pid, uid: 0, gid: 0, startTime: 1n });
  using asked = await RpcClient.connect({ path: peer.path, uri: URI, peerOf });
  expect(await asked.sharesProcesses()).toBe(shared);
  expect(await (await connected()).sharesProcesses()).toBe(false);
});

describe('opening', () => {
  test('names the URI, writable unless read-only is asked for', async () => {
    const opened: unknown[] = [];
    peer.answer(CALLS.open, (args) => void opened.push(args));
    await connected();
    using readOnly = await RpcClient.connect({ path: peer.path, uri: URI, readOnly: true });
    expect(readOnly).toBeInstanceOf(RpcClient);
    expect(opened).toEqual([
      { name: URI, flags: 0 },
      { name: URI, flags: 1 },
    ]);
  });

  test('goes through polkit where libvirtd asks for it, before anything else', async () => {
    const calls: string[] = [];
    peer.answer(CALLS.authList, () => ({ types: [2] }));
    peer.answer(CALLS.authPolkit, () => {
      calls.push('polkit');
      return { complete: 1 };
    });
    peer.answer(CALLS.open, () => void calls.push('open'));
    await connected();
    expect(calls).toEqual(['polkit', 'open']);
  });

  test('an empty list of authentication types is none', async () => {
    peer.answer(CALLS.authList, () => ({ types: [] }));
    await expect(connected()).resolves.toBeInstanceOf(RpcClient);
  });

  test('refuses SASL', async () => {
    peer.answer(CALLS.authList, () => ({ types: [1] }));
    expect((await refusal(connected())).fields).toMatchObject({
      code: 45,
      domain: 7,
      message:
        'authentication failed: unsupported authentication type 1: run as root, or as somebody whom the daemon asks for none',
    });
  });

  test('refuses a libvirtd without events per callback', async () => {
    peer.answer(CALLS.supportsFeature, () => ({ supported: 0 }));
    expect((await refusal(connected())).fields.code).toBe(3);
  });

  test('passes on why libvirtd refuses, and leaves', async () => {
    peer.answer(CALLS.open, () => {
      throw new LibvirtError('AUTH_FAILED', 'not you', { domain: 'RPC' });
    });
    expect((await refusal(connected())).message).toBe('authentication failed: not you');
    const [socket] = peer.sockets;
    await until(() => socket?.readableEnded === true || socket?.destroyed === true);
  });

  test.each([
    ['a missing socket', 'nowhere', 'No such file or directory', 2],
    ['a file that is no socket', '.', 'Connection refused', 111],
  ])('%s is libvirt’s own error', async (_what, name, reason, errno) => {
    const path = join(directory, name);
    const error = await refusal(RpcClient.connect({ path, uri: URI }));
    expect(error.fields).toMatchObject({ code: 38, domain: 7, int1: errno });
    expect(error.message).toBe(`Failed to connect socket to '${path}': ${reason}`);
  });

  test('an aborted signal stops it', async () => {
    peer.on(CALLS.open, () => {});
    const abort = new AbortController();
    const opening = RpcClient.connect({ path: peer.path, uri: URI, signal: abort.signal });
    setTimeout(() => abort.abort(), 50);
    expect((await refusal(opening)).fields.code).toBe(39);
    const aborted = RpcClient.connect({ path: peer.path, uri: URI, signal: abort.signal });
    expect((await refusal(aborted)).message).toBe('the connection to libvirtd has been closed');
  });
});

describe('calls', () => {
  test('overlap, and get their own replies in any order', async () => {
    const held: (() => void)[] = [];
    peer.on(CALLS.lookupByName, (header, frame, socket) => {
      const { name } = decodePayload(CALLS.lookupByName.args, frame);
      held.push(() => socket.write(replyFrame(header, CALLS.lookupByName.result, { domain: { ...GUEST, name } })));
    });
    const rpc = await connected();
    const names = ['a', 'b', 'c'].map(async (name) => (await rpc.lookupByName(name)).name);
    await until(() => held.length === 3);
    for (const reply of held.reverse()) reply();
    expect(await Promise.all(names)).toEqual(['a', 'b', 'c']);
  });

  test.each([
    ['one that the table knows', 42, 'NO_DOMAIN'],
    ['one that it does not know', 90, 'OTHER'],
  ])('an error keeps number, domain and text: %s', async (_what, code, name) => {
    const fields = {
      code,
      domain: 10,
      message: `the whole text`,
      str1: 'the %s text',
      str2: 'whole',
      int1: 5,
      int2: -1,
    };
    peer.answer(CALLS.destroy, () => {
      throw receivedError(fields);
    });
    const error = await refusal((await connected()).destroy(GUEST));
    expect(error.fields).toEqual(fields);
    expect(error).toMatchObject({ code: name, message: 'the whole text', detail: 'whole' });
  });

  test('a reply that cannot be decoded rejects its call and no other', async () => {
    peer.on(CALLS.getType, (header, _frame, socket) => socket.write(replyFrame(header, nothing, undefined)));
    peer.answer(CALLS.lookupByUUID, () => ({ domain: GUEST }));
    const rpc = await connected();
    expect((await refusal(rpc.getType())).message).toBe('Unable to decode message payload');
    expect(await rpc.lookupByUUID(GUEST.uuid)).toEqual(GUEST);
  });

  test('arguments that no frame can carry are refused without a word to libvirtd', async () => {
    const rpc = await connected();
    const before = peer.last.bytesRead;
    expect((await refusal(rpc.defineXML('x'.repeat(4_194_305)))).message).toBe('Unable to encode message payload');
    expect(peer.last.bytesRead).toBe(before);
    peer.answer(CALLS.getType, () => ({ value: 'Xen' }));
    expect(await rpc.getType()).toBe('Xen');
  });

  test('a state that libvirt may add one day is no state', async () => {
    peer.answer(CALLS.getState, () => ({ state: 8, reason: 0 }));
    expect(await (await connected()).getState(GUEST)).toBe('nostate');
  });

  test('saving and restoring send path and flags where libvirt reads them', async () => {
    const sent: unknown[] = [];
    peer.answer(CALLS.saveFlags, (args) => void sent.push(args));
    peer.answer(CALLS.restoreFlags, (args) => void sent.push(args));
    peer.answer(CALLS.pmSuspendForDuration, (args) => void sent.push(args));
    peer.answer(CALLS.pmWakeup, (args) => void sent.push(args));
    const rpc = await connected();
    await rpc.saveFlags(GUEST, '/m', 0);
    await rpc.restoreFlags('/m', 4);
    await rpc.pmSuspendForDuration(GUEST, 0);
    await rpc.pmWakeup(GUEST);
    expect(sent).toEqual([
      { domain: GUEST, to: '/m', dxml: null, flags: 0 },
      { from: '/m', dxml: null, flags: 4 },
      { domain: GUEST, target: 0, duration: 0n, flags: 0 },
      { domain: GUEST, flags: 0 },
    ]);
  });
});

describe('what comes unasked', () => {
  test('a ping is answered with a pong', async () => {
    await connected();
    peer.last.write(keepalive(KEEPALIVE.PING));
    await until(() => peer.keepalives.length > 0);
    expect(peer.keepalives).toEqual([
      expect.objectContaining({ procedure: KEEPALIVE.PONG, type: TYPE.MESSAGE, serial: 0 }),
    ]);
  });

  test('a lifecycle event reaches every listener', async () => {
    const seen: [DomainRef, LifecycleEvent][] = [];
    const rpc = await connected();
    rpc.onLifecycle((domain, event) => seen.push([domain, event]));
    rpc.onLifecycle((domain, event) => seen.push([domain, event]));
    peer.last.write(lifecycleFrame(7, GUEST, LIFECYCLE.STOPPED_SAVED));
    await until(() => seen.length > 1);
    expect(seen).toEqual([
      [GUEST, LIFECYCLE.STOPPED_SAVED],
      [GUEST, LIFECYCLE.STOPPED_SAVED],
    ]);
  });

  test('other events and streams are left alone', async () => {
    peer.answer(CALLS.getType, () => ({ value: 'Xen' }));
    const rpc = await connected();
    peer.last.write(encodeFrame({ procedure: 319, type: TYPE.MESSAGE, serial: 1 }, nothing, undefined));
    peer.last.write(encodeFrame({ procedure: 201, type: TYPE.STREAM, serial: 1 }, nothing, undefined));
    expect(await rpc.getType()).toBe('Xen');
    expect(peer.sockets).toHaveLength(1);
  });
});

describe('a connection that is lost', () => {
  test('fails the calls under way and says that their outcome is not known', async () => {
    peer.on(CALLS.destroy, (_header, _frame, socket) => socket.destroy());
    const error = await refusal((await connected()).destroy(GUEST));
    expect(error.fields).toMatchObject({ code: 39, domain: 7 });
    expect(error.message).toBe(
      `connection to libvirtd at '${peer.path}' was lost during virDomainDestroy; whether that was carried out is not known`,
    );
  });

  test('is made anew by the next call, with its events', async () => {
    const seen: LifecycleEvent[] = [];
    peer.answer(CALLS.getType, () => ({ value: 'Xen' }));
    const rpc = await connected();
    rpc.onLifecycle((_domain, event) => seen.push(event));
    peer.last.destroy();
    await until(() => peer.sockets[0]?.destroyed === true);
    await delay(POLL_MS);
    expect(await rpc.getType()).toBe('Xen');
    expect(peer.sockets).toHaveLength(2);
    peer.last.write(lifecycleFrame(7, GUEST, LIFECYCLE.STARTED_BOOTED));
    await until(() => seen.length > 0);
  });

  test('is made anew without a call, too, for the sake of the events', async () => {
    await connected();
    peer.last.destroy();
    await until(() => peer.sockets.length === 2);
  });

  test('stays lost, with libvirt’s own error, for as long as libvirtd is away', async () => {
    const rpc = await connected();
    await peer[Symbol.asyncDispose]();
    await until(() => peer.last.destroyed);
    await delay(POLL_MS);
    for (let i = 0; i < 2; i += 1) {
      expect((await refusal(rpc.getType())).message).toBe(
        `Failed to connect socket to '${peer.path}': No such file or directory`,
      );
    }
    peer = new Peer(peer.path);
    peer.answer(CALLS.getType, () => ({ value: 'Xen' }));
    await peer.listen();
    expect(await rpc.getType()).toBe('Xen');
  });

  test.each([
    ['bytes that are no frame', (socket: Socket) => socket.write(Buffer.alloc(28))],
    ['a reply that nobody waits for', (socket: Socket) => socket.write(strayReply())],
  ])('%s end it', async (_what, send) => {
    peer.on(CALLS.getType, (_header, _frame, socket) => void send(socket));
    const error = await refusal((await connected()).getType());
    expect(error.message).toContain('sent what is not libvirt RPC during virConnectGetType');
  });

  test('after the client has been disposed of, nothing connects again', async () => {
    const rpc = await connected();
    peer.on(CALLS.getType, () => {});
    const call = refusal(rpc.getType());
    await delay(POLL_MS);
    rpc[Symbol.dispose]();
    expect((await call).message).toContain('was closed during virConnectGetType');
    expect((await refusal(rpc.getType())).message).toBe('the connection to libvirtd has been closed');
    expect(peer.sockets).toHaveLength(1);
  });
});

describe('a libvirtd that has stopped working', () => {
  beforeEach(() => {
    jest.useFakeTimers({
      doNotFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'nextTick', 'performance', 'queueMicrotask', 'Date'],
    });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  /** Lets one interval go by, and the ping of it arrive. */
  const interval = async (pings: number): Promise<void> => {
    jest.advanceTimersByTime(PING_INTERVAL_MS);
    await until(() => peer.keepalives.length === pings);
  };

  test('is taken for dead after six pings without an answer', async () => {
    let asked = false;
    peer.on(CALLS.saveFlags, () => {
      asked = true;
    });
    const call = refusal((await connected()).saveFlags(GUEST, '/m', 0));
    await until(() => asked);
    for (let pings = 1; pings <= PINGS_MAX; pings += 1) await interval(pings);
    expect(peer.keepalives.every(({ procedure }) => procedure === KEEPALIVE.PING)).toBe(true);
    jest.advanceTimersByTime(PING_INTERVAL_MS);
    expect((await call).message).toContain('was closed due to keepalive timeout during virDomainSaveFlags');
  });

  test('a slow call is waited for as long as pings are answered, and none are sent when nothing waits', async () => {
    let finish: (() => void) | undefined;
    peer.on(CALLS.saveFlags, (header, _frame, socket) => {
      finish = () => socket.write(replyFrame(header, nothing, undefined));
    });
    const call = (await connected()).saveFlags(GUEST, '/m', 0);
    await until(() => finish !== undefined);
    for (let pings = 1; pings <= 2 * PINGS_MAX; pings += 1) {
      await interval(pings);
      peer.last.write(keepalive(KEEPALIVE.PONG));
      await delay(POLL_MS);
    }
    finish?.();
    await call;
    jest.advanceTimersByTime(2 * PING_INTERVAL_MS);
    await delay(POLL_MS);
    expect(peer.keepalives).toHaveLength(2 * PINGS_MAX);
  });
});

function keepalive(procedure: number): Buffer {
  return encodeFrame({ program: PROGRAM.KEEPALIVE, procedure, type: TYPE.MESSAGE, serial: 0 }, nothing, undefined);
}

function strayReply(): Buffer {
  return encodeFrame({ procedure: CALLS.getType.number, type: TYPE.REPLY, serial: 99 }, nothing, undefined);
}
