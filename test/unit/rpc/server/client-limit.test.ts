import { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { ClientLimit } from '../../../../src/rpc/server/client-limit.ts';

const ROOT = 0;

/** A limit of four clients, and what it has dropped. Descriptors are the users' ids. */
function scene() {
  const dropped: string[] = [];
  const peerOf = (uid: number) => ({ pid: 1, uid, gid: uid, startTime: 1n });
  const limit = new ClientLimit({ max: 4, peerOf, dropped: (text) => dropped.push(text) });
  const arrive = (uid: number) => {
    const socket = Object.assign(new Socket(), { _handle: { fd: uid } });
    socket.destroy = () => {
      Object.assign(socket, { ended: true });
      return socket;
    };
    return { socket: socket as Socket & { ended?: boolean }, client: limit.admit(socket, true) };
  };
  const come = (uid: number) => {
    const arrived = arrive(uid);
    arrived.client?.authenticated();
    return arrived;
  };
  return { dropped, arrive, come };
}

test('no more clients than the limit are let in, and one that leaves makes room', () => {
  const { dropped, come } = scene();
  const clients = [1, 2, 3, 4].map(come);
  expect(clients.map(({ client }) => client?.peer?.uid)).toEqual([1, 2, 3, 4]);
  expect(come(ROOT).client).toBeUndefined();
  expect(dropped).toEqual(['Too many active clients (4), dropping connection from uid 0']);
  clients[1]?.socket.emit('close');
  expect(come(5).client).toMatchObject({ readOnly: true, peer: { pid: 1, uid: 5, gid: 5, startTime: 1n } });
  expect(come(2).client).toBeUndefined();
});

test('one user has half of them at most, root all', () => {
  const one = scene();
  expect([7, 7, 7, 8].map((uid) => one.come(uid).client !== undefined)).toEqual([true, true, false, true]);
  const root = scene();
  expect([ROOT, ROOT, ROOT, ROOT, ROOT].map((uid) => root.come(uid).client !== undefined)).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
});

describe('clients that do not authenticate', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  const ended = (clients: readonly { socket: { ended?: boolean } }[]) =>
    clients.map(({ socket }) => socket.ended === true);

  test('make room, the oldest of the user who has most of them first; those that have do not', () => {
    const { dropped, arrive, come } = scene();
    const clients = [come(1), arrive(2), arrive(3), arrive(3)];
    const later = come(4);
    expect(ended(clients)).toEqual([false, false, true, false]);
    expect(later.client).toBeDefined();
    expect(dropped).toEqual([
      'dropping connection from uid 3, which has not authenticated: its place is needed, 4 clients are connected',
    ]);
    expect([come(5), come(6)].map(({ client }) => client !== undefined)).toEqual([true, true]);
    expect(ended(clients)).toEqual([false, true, true, true]);
    expect(come(7).client).toBeUndefined();
    clients[2]?.socket.emit('close');
    expect(come(7).client).toBeUndefined();
  });

  test('of a user who has all that one user may have make room for that user alone', () => {
    const { arrive, come } = scene();
    const clients = [arrive(1), come(1), come(2)];
    expect(come(1).client).toBeDefined();
    expect(ended(clients)).toEqual([true, false, false]);
    expect(come(1).client).toBeUndefined();
  });

  test('are dropped after two minutes', () => {
    const { dropped, arrive, come } = scene();
    const clients = [arrive(1), come(2)];
    jest.advanceTimersByTime(119_000);
    expect(ended(clients)).toEqual([false, false]);
    jest.advanceTimersByTime(2_000);
    expect(ended(clients)).toEqual([true, false]);
    expect(dropped).toEqual(['dropping connection from uid 1, which has not authenticated: 120 seconds have passed']);
  });
});
