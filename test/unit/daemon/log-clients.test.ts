import { Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { openLog } from '../../../src/daemon/log.ts';
import { logged } from '../../../src/daemon/log-clients.ts';
import { LibvirtError } from '../../../src/errors.ts';
import type { Client } from '../../../src/rpc/server/client-limit.ts';

const PEER = { pid: 11, uid: 1000, gid: 100, startTime: 5n };

/** A client's connection, and what is logged of it. */
function connected(client: Client, level: 'info' | 'debug') {
  const lines: string[] = [];
  const handed: Client[] = [];
  const log = openLog(level, (line) => lines.push(line));
  const handler = logged((_socket, value) => handed.push(value), log);
  const socket = new Socket();
  handler(socket, client);
  expect(handed).toEqual([client]);
  return { socket, said: () => lines.splice(0).join('') };
}

test('a client that may change something is named', () => {
  expect(connected({ readOnly: false, peer: PEER, authenticated() {} }, 'info').said()).toContain(
    'info: client connected: pid 11, uid 1000, gid 100\n',
  );
});

test('one that may only look is named to who wants every detail', () => {
  expect(connected({ readOnly: true, peer: PEER, authenticated() {} }, 'info').said()).toBe('');
  expect(connected({ readOnly: true, peer: PEER, authenticated() {} }, 'debug').said()).toContain(
    'debug: client connected (read-only): pid 11, uid 1000, gid 100\n',
  );
});

test('one that cannot be named is served all the same', () => {
  const unnamed = { readOnly: false, peer: undefined, authenticated() {} };
  expect(connected(unnamed, 'info').said()).toContain('client connected: unknown\n');
});

describe('a connection that breaks', () => {
  test('by what its client sends is in the log, with who and why', () => {
    const { socket, said } = connected({ readOnly: true, peer: PEER, authenticated() {} }, 'info');
    socket.emit('error', new LibvirtError('RPC', 'packet of 3 bytes is too small, want 28', { domain: 'RPC' }));
    expect(said()).toContain(
      'warning: client disconnected: pid 11, uid 1000, gid 100: packet of 3 bytes is too small, want 28\n',
    );
  });

  test('because its client has gone is a detail', () => {
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    const quiet = connected({ readOnly: true, peer: PEER, authenticated() {} }, 'info');
    quiet.socket.emit('error', reset);
    expect(quiet.said()).toBe('');
    const { socket, said } = connected({ readOnly: true, peer: PEER, authenticated() {} }, 'debug');
    socket.emit('error', reset);
    expect(said()).toContain('debug: client disconnected: pid 11, uid 1000, gid 100: read ECONNRESET\n');
  });
});
