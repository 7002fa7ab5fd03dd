import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { addressOf } from '../../../src/cli/connection.ts';
import { isLibvirtError } from '../../../src/errors.ts';

let runtime: string;
let before: string | undefined;

beforeEach(async () => {
  runtime = await mkdtemp(join(tmpdir(), 'xlsnap-run-'));
  before = process.env.XDG_RUNTIME_DIR;
  process.env.XDG_RUNTIME_DIR = runtime;
});

afterEach(async () => {
  if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
  else process.env.XDG_RUNTIME_DIR = before;
  await rm(runtime, { recursive: true });
});

test.each([
  ['xen+unix:///system?socket=/run/x.sock', { path: '/run/x.sock', uri: 'xen:///system' }],
  ['xen:///system?socket=/run/x.sock', { path: '/run/x.sock', uri: 'xen:///system' }],
  ['test+unix:///default?mode=direct&socket=/a%20b', { path: '/a b', uri: 'test:///default' }],
  ['xen:///', { uri: 'xen:///' }],
])('%s names its socket, and what is opened there', (uri, address) => {
  expect(addressOf(uri, false)).toMatchObject(address);
  expect(addressOf(uri, true)).toMatchObject({ uri: address.uri });
});

test('a socket that is named is taken for reading, too', () => {
  expect(addressOf('xen+unix:///system?socket=/run/x.sock', true).path).toBe('/run/x.sock');
});

test('without one it is where the daemon listens by default', async () => {
  expect(addressOf('test:///default', false).path).toBe(join(runtime, 'xlsnap/libvirt-sock'));
  expect(addressOf('test:///default', true).path).toBe(join(runtime, 'xlsnap/libvirt-sock-ro'));
  expect(addressOf('xen:///system', false).path).toMatch(/^\/run\/libvirt\/(virtxend|libvirt)-sock$/);
});

test('anything but this machine’s sockets is refused', async () => {
  for (const uri of ['qemu:///system', 'nonsense', '']) {
    expect(() => addressOf(uri, false)).toThrow(`no connection driver available for ${uri}`);
  }
  for (const uri of ['xen+ssh://there/system', 'xen://there/system', 'xen+tls:///system']) {
    expect(() => addressOf(uri, false)).toThrow(`'${uri}' is not on this machine`);
  }
  try {
    addressOf('qemu:///system', false);
  } catch (error) {
    expect(isLibvirtError(error, 'NO_CONNECT')).toBe(true);
  }
});
