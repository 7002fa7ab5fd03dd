import { Socket } from 'node:net';
import { expect, test } from '@jest/globals';
import { ClientLimit } from '../../../../src/rpc/server/client-limit.ts';

const ROOT = 0;

/** A limit of four clients, and what it has dropped. Descriptors are the users' ids. */
function scene() {
  const dropped: string[] = [];
  const peerOf = (uid: number) => ({ pid: 1, uid, gid: uid, startTime: 1n });
  const limit = new ClientLimit({ max: 4, peerOf, dropped: (text) => dropped.push(text) });
  const come = (uid: number) => {
    const socket = Object.assign(new Socket(), { _handle: { fd: uid } });
    return { socket, client: limit.admit(socket, true) };
  };
  return { dropped, come };
}

test('no more clients than the limit are let in, and one that leaves makes room', () => {
  const { dropped, come } = scene();
  const clients = [1, 2, 3, 4].map(come);
  expect(clients.map(({ client }) => client?.peer?.uid)).toEqual([1, 2, 3, 4]);
  expect(come(ROOT).client).toBeUndefined();
  expect(dropped).toEqual(['Too many active clients (4), dropping connection from uid 0']);
  clients[1]?.socket.emit('close');
  expect(come(5).client).toEqual({ readOnly: true, peer: { pid: 1, uid: 5, gid: 5, startTime: 1n } });
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
