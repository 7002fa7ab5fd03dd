import { describe, expect, test } from '@jest/globals';
import { activatedSockets, notifier } from '../../../src/daemon/systemd.ts';

const PID = 4711;
const sockets = (count: string, names?: string, paths: readonly string[] = []) =>
  activatedSockets(
    (fd) => paths[fd - 3],
    { LISTEN_PID: `${PID}`, LISTEN_FDS: count, ...(names !== undefined && { LISTEN_FDNAMES: names }) },
    PID,
  );

describe('sockets from systemd', () => {
  test.each([
    ['1', 'xlsnapd.socket', [false]],
    ['2', 'xlsnapd.socket:xlsnapd-ro.socket', [false, true]],
    ['2', 'virtxend-ro.socket:virtxend.socket', [true, false]],
    ['2', 'a-ro:a', [true, false]],
    ['2', 'xlsnapd.socket:xlsnapd-cockpit.socket', [false, false]],
    [
      '4',
      'xlsnapd.socket:xlsnapd-cockpit-ro.socket:xlsnapd-cockpit.socket:xlsnapd-ro.socket',
      [false, true, false, true],
    ],
    ['2', 'xlsnapd.socket:xlsnapd.socket', [true, false], ['/run/a-ro', '/run/a']],
    ['2', undefined, [false, true], ['/run/a', '/run/a-ro']],
    ['1', 'renamed', [true], ['/run/a-ro']],
    ['2', 'xlsnapd.socket:renamed', [false, true], ['/run/a', '/run/a-ro']],
  ])('%s of them, named %p', (count, names, readOnly, paths: readonly string[] = []) => {
    expect(sockets(count, names, paths)).toEqual(readOnly.map((value, index) => ({ fd: 3 + index, readOnly: value })));
  });

  test('are refused when which one is read-only cannot be known', () => {
    const paths = ['/run/a', '/run/b'];
    expect(() => sockets('2', undefined, paths)).toThrow(
      "socket '' (/run/a), one of 2 from systemd, is not named as the",
    );
    expect(() => sockets('3', 'a:b:c')).toThrow(
      "socket 'a' (without a path), one of 3 from systemd, is not named as the",
    );
  });

  test('S19: a read-only one that a drop-in has renamed is refused, whichever others there are', () => {
    const names = 'xlsnapd.socket:readers:xlsnapd-cockpit.socket:xlsnapd-cockpit-ro.socket';
    const paths = ['/run/a', '/run/readers', '/run/b', '/run/b-ro'];
    expect(() => sockets('4', names, paths)).toThrow("socket 'readers' (/run/readers)");
    expect(() => sockets('2', 'xlsnapd.socket:readers', paths)).toThrow("socket 'readers' (/run/readers)");
  });

  test('that are for another process are none', () => {
    expect(activatedSockets(() => undefined, { LISTEN_PID: '1', LISTEN_FDS: '2' }, PID)).toEqual([]);
    expect(activatedSockets(() => undefined, {}, PID)).toEqual([]);
  });

  test('are not passed on to programs that are started', () => {
    const env = { LISTEN_PID: `${PID}`, LISTEN_FDS: '1', LISTEN_FDNAMES: 'x', PATH: '/bin' };
    activatedSockets(() => undefined, env, PID);
    expect(env).toEqual({ PATH: '/bin' });
  });
});

test('a service manager is told where it has said, and nobody else', () => {
  const sent: (readonly [string, string])[] = [];
  const send = (address: string, text: string): boolean => sent.push([address, text]) > 0;
  const env = { NOTIFY_SOCKET: '/run/systemd/notify' };
  const notify = notifier(send, env);
  notify('READY=1');
  notify('STOPPING=1');
  expect(sent).toEqual([
    ['/run/systemd/notify', 'READY=1'],
    ['/run/systemd/notify', 'STOPPING=1'],
  ]);
  expect(env).toEqual({});
  notifier(send, {})('READY=1');
  expect(sent).toHaveLength(2);
});
