import { expect, test } from '@jest/globals';
import { busSocket } from '../../../src/dbus/address.ts';
import { LibvirtError } from '../../../src/errors.ts';

test.each([
  ['system', {}, '/run/dbus/system_bus_socket'],
  ['system', { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/tmp/system' }, '/tmp/system'],
  ['session', { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/tmp/session,guid=0123' }, '/tmp/session'],
  ['session', { DBUS_SESSION_BUS_ADDRESS: 'unix:abstract=/tmp/dbus-Ab,guid=0123' }, '\0/tmp/dbus-Ab'],
  ['session', { XDG_RUNTIME_DIR: '/run/user/7' }, '/run/user/7/bus'],
  ['unix:path=/a', {}, '/a'],
  ['unix:guid=1,path=/with%20space', {}, '/with space'],
  ['tcp:host=far,port=1;unix:path=/near', {}, '/near'],
])('%s with %j is at %j', (bus, env, socket) => {
  expect(busSocket(bus, env)).toBe(socket);
});

test.each(['tcp:host=localhost,port=1', 'unix:', 'unix:path=', 'nonsense', ''])('%j has no UNIX socket', (bus) => {
  expect(() => busSocket(bus, {})).toThrow(LibvirtError);
  expect(() => busSocket(bus, {})).toThrow('no UNIX socket in the D-Bus address');
});

test('without anything that says where, there is no session bus', () => {
  expect(() => busSocket('session', {})).toThrow('there is no session bus here');
});
