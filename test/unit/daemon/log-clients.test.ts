import { Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { openLog } from '../../../src/daemon/log.ts';
import { logged } from '../../../src/daemon/log-clients.ts';
import { LibvirtError } from '../../../src/errors.ts';

/** A connection on descriptor `fd`, and what has been said of it. */
function connected(fd: number | undefined, readOnly: boolean, level: 'info' | 'debug') {
  const lines: string[] = [];
  const handed: boolean[] = [];
  const peerCredentials = (of: number) => (of === 7 ? { pid: 11, uid: 1000, gid: 100 } : undefined);
  const handler = logged(
    (_socket, value) => handed.push(value),
    { peerCredentials },
    openLog(level, (line) => lines.push(line)),
  );
  const socket = Object.assign(new Socket(), { _handle: fd === undefined ? undefined : { fd } });
  handler(socket, readOnly);
  expect(handed).toEqual([readOnly]);
  return { socket, said: () => lines.splice(0).join('') };
}

test('a client that may change something is named', () => {
  expect(connected(7, false, 'info').said()).toContain('info: client connected: pid 11, uid 1000, gid 100\n');
});

test('one that may only look is named to who wants every detail', () => {
  expect(connected(7, true, 'info').said()).toBe('');
  expect(connected(7, true, 'debug').said()).toContain(
    'debug: client connected (read-only): pid 11, uid 1000, gid 100\n',
  );
});

test.each([undefined, -1, 8])('one that cannot be named is served all the same: descriptor %p', (fd) => {
  expect(connected(fd, false, 'info').said()).toContain('client connected: unknown\n');
});

describe('a connection that breaks', () => {
  test('by what its client sends is in the log, with who and why', () => {
    const { socket, said } = connected(7, true, 'info');
    socket.emit('error', new LibvirtError('RPC', 'packet of 3 bytes is too small, want 28', { domain: 'RPC' }));
    expect(said()).toContain(
      'warning: client disconnected: pid 11, uid 1000, gid 100: packet of 3 bytes is too small, want 28\n',
    );
  });

  test('because its client has gone is a detail', () => {
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    const quiet = connected(7, true, 'info');
    quiet.socket.emit('error', reset);
    expect(quiet.said()).toBe('');
    const { socket, said } = connected(7, true, 'debug');
    socket.emit('error', reset);
    expect(said()).toContain('debug: client disconnected: pid 11, uid 1000, gid 100: read ECONNRESET\n');
  });
});
