import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { addressOf } from '../../../src/client/address.ts';
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

test('other drivers and transports are refused, with the way out', async () => {
  for (const uri of ['qemu:///system', 'nonsense', '']) {
    expect(() => addressOf(uri, false)).toThrow(`no connection driver available for ${uri}`);
  }
  for (const [uri, wayOut] of [
    ['xen://there/system', 'xen+ssh://there/system'],
    ['xen+tcp://there:16509/system', 'xen+ssh://there/system'],
    ['xen+tls:///system', 'xen+ssh://HOST/system'],
    ['xen+ssh:///system', 'xen+ssh://HOST/system'],
  ] as const) {
    const text = `'${uri}' is not on this machine, and xlsnap has no TLS and no TCP: use ${wayOut}`;
    expect(() => addressOf(uri, false)).toThrow(text);
  }
  for (const nul of [
    'xen+ssh://a%00b@there/system',
    'xen:///system?socket=%00abstract',
    'xen+ssh://there/system?keyfile=\0',
  ]) {
    expect(() => addressOf(nul, false)).toThrow('a URI cannot have a NUL in it');
  }
  expect(() => addressOf('xen+ssh://there/system?proxy=magic', false)).toThrow("Unknown proxy type 'magic'");
  try {
    addressOf('qemu:///system', false);
  } catch (error) {
    expect(isLibvirtError(error, 'NO_CONNECT')).toBe(true);
  }
});

const HELPER = "sh -c 'virt-ssh-helper xen:///system'";

test.each([
  ['xen+ssh://there/system', ['ssh', '-T', '-e', 'none', '--', 'there', HELPER]],
  [
    'xen+ssh://al%40ice@[fe80::1]:2222/system?keyfile=/k&no_verify=1&no_tty=1&command=/bin/ssh',
    '/bin/ssh -p 2222 -l al@ice -i /k -T -e none -o BatchMode=yes -o StrictHostKeyChecking=no -- fe80::1'
      .split(' ')
      .concat(HELPER),
  ],
  // What is not percent-encoded stays as it is.
  ['xen+ssh://a%zz@there/system', ['ssh', '-l', 'a%zz', '-T', '-e', 'none', '--', 'there', HELPER]],
  // A host's name, or a user's, is never an option of ssh.
  ['xen+ssh://-oProxyCommand=x/system', ['ssh', '-T', '-e', 'none', '--', '-oProxyCommand=x', HELPER]],
])('%s is reached by ssh', (uri, command) => {
  expect(addressOf(uri, false)).toMatchObject({ uri: 'xen:///system', command });
});

test.each([
  ['xen+ssh://there/system', ['virt-ssh-helper', '-r', 'xen:///system']],
  ['xen+ssh://there/system?proxy=native', ['virt-ssh-helper', '-r', 'xen:///system']],
  ['xen+ssh://there/system?proxy=netcat', ['nc', '-q0', '-U', '/run/libvirt/libvirt-sock-ro']],
  ['xen+ssh://there/system?netcat=nc2', ['nc2', '-U', '/run/libvirt/libvirt-sock-ro']],
  // The shell there gets a path as one word, whatever is in it.
  ["test+ssh://there/default?socket=/run/a b';exit", ['nc', '-q0', '-U', "/run/a b';exit"]],
])('%s starts there, for reading: %j', async (uri, words) => {
  const print = `printf '%s\\n' "$(basename "$0")" "$@"`;
  const programs = {
    'virt-ssh-helper': print,
    nc: `[ $# -gt 1 ] || echo requires an argument >&2; ${print}`,
    nc2: print,
  };
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(runtime, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const command = addressOf(uri, true).command?.at(-1) ?? '';
  const env = { PATH: `${runtime}:${process.env.PATH}` };
  expect(execFileSync('sh', ['-c', command], { env }).toString().trimEnd().split('\n')).toEqual(words);
});
