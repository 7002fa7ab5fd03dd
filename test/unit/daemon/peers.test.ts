import type { Socket } from 'node:net';
import { expect, test } from '@jest/globals';
import { openLog } from '../../../src/daemon/log.ts';
import { logged } from '../../../src/daemon/peers.ts';

const said = (fd: number | undefined, readOnly: boolean, level: 'info' | 'debug'): string => {
  const lines: string[] = [];
  const handed: boolean[] = [];
  const peerCredentials = (of: number) => (of === 7 ? { pid: 11, uid: 1000, gid: 100 } : undefined);
  const handler = logged(
    (_socket, value) => handed.push(value),
    { peerCredentials },
    openLog(level, (line) => lines.push(line)),
  );
  handler({ _handle: fd === undefined ? undefined : { fd } } as unknown as Socket, readOnly);
  expect(handed).toEqual([readOnly]);
  return lines.join('');
};

test('a client that may change something is named', () => {
  expect(said(7, false, 'info')).toContain('info: client connected: pid 11, uid 1000, gid 100\n');
});

test('one that may only look is named to who wants every detail', () => {
  expect(said(7, true, 'info')).toBe('');
  expect(said(7, true, 'debug')).toContain('debug: client connected (read-only): pid 11, uid 1000, gid 100\n');
});

test.each([undefined, -1, 8])('one that cannot be named is served all the same: descriptor %p', (fd) => {
  expect(said(fd, false, 'info')).toContain('client connected: unknown\n');
});
