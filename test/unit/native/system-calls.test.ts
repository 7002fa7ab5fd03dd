import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openSystemCalls, type SystemCalls } from '../../../src/native/system-calls.ts';

let system: SystemCalls;
let directory: string;

beforeAll(async () => {
  system = await openSystemCalls();
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-system-'));
});

afterAll(() => rmSync(directory, { recursive: true }));

/** By another reading of the same file: the name of this process has no blanks. */
const startTimeOfSelf = (): bigint => BigInt(readFileSync('/proc/self/stat', 'utf8').split(' ')[21] ?? -1);

test('a connection says who made it', async () => {
  const path = join(directory, 'sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const client = connect(path);
  const [accepted] = (await once(server, 'connection')) as [Socket & { readonly _handle: { readonly fd: number } }];
  const { pid, getuid, getgid } = process;
  expect(system.peerCredentials(accepted._handle.fd)).toEqual({
    pid,
    uid: getuid?.(),
    gid: getgid?.(),
    startTime: startTimeOfSelf(),
  });
  client.destroy();
  accepted.destroy();
  server.close();
});

test('a socket says its path, and one without a path says none', async () => {
  const path = join(directory, 'bound');
  const fdOf = (server: object) => (server as { readonly _handle: { readonly fd: number } })._handle.fd;
  for (const [address, said] of [
    [path, path],
    [`\0xlsnap-path-${process.pid}`, undefined],
  ] as const) {
    const server = createServer().listen(address);
    await once(server, 'listening');
    expect(system.socketPath(fdOf(server))).toBe(said);
    server.close();
  }
  expect(system.socketPath(-1)).toBeUndefined();
});

test('a socket that may hold more takes more before its writer waits', async () => {
  const path = join(directory, 'deep');
  const server = createServer({ pauseOnConnect: true }).listen(path);
  await once(server, 'listening');
  const taken = async (bytes?: number): Promise<number> => {
    const client = connect(path) as Socket & { readonly _handle: { readonly fd: number } };
    await once(client, 'connect');
    if (bytes !== undefined) system.sendBuffer(client._handle.fd, bytes);
    const chunk = Buffer.alloc(16 * 1024);
    for (let count = 0; ; count += 1) {
      client.write(chunk);
      if (client.writableLength === 0) continue;
      client.destroy();
      return count;
    }
  };
  const usual = await taken();
  expect(await taken(1024 * 1024)).toBeGreaterThan(1.5 * usual);
  expect(await taken(16 * 1024)).toBeLessThan(usual / 2);
  server.close();
});

test('what is no socket says nothing', () => {
  expect(system.peerCredentials(openSync('/dev/null', 'r'))).toBeUndefined();
  expect(system.peerCredentials(-1)).toBeUndefined();
});

test.each([
  ['file', () => join(directory, 'notify')],
  ['abstract name', () => `@xlsnap-test-${process.pid}`],
])('a datagram reaches a %s', async (_kind, address) => {
  const listener = spawn('python3', [
    '-c',
    [
      'import socket, sys',
      's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)',
      "s.bind(sys.argv[1].replace('@', chr(0), 1))",
      "print('bound', flush=True)",
      'print(s.recv(100).decode(), flush=True)',
    ].join('\n'),
    address(),
  ]);
  const lines = createInterface(listener.stdout)[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('bound');
  expect(system.sendDatagram(address(), 'READY=1')).toBe(true);
  expect((await lines.next()).value).toBe('READY=1');
});

test('a datagram to nobody is not sent', () => {
  expect(system.sendDatagram(join(directory, 'nobody'), 'READY=1')).toBe(false);
});

test('a pipe holds what it was asked to before its writer waits, and programs do not inherit it', () => {
  const { reader, writer } = system.pipe(256 << 10);
  try {
    const bytes = Buffer.alloc(200_000, 1);
    expect(writeSync(writer, bytes)).toBe(bytes.length);
    expect(readSync(reader, Buffer.alloc(bytes.length))).toBe(bytes.length);
    // O_CLOEXEC, in octal.
    for (const end of [reader, writer])
      expect(readFileSync(`/proc/self/fdinfo/${end}`, 'utf8')).toMatch(/^flags:\s*02\d{6}$/m);
  } finally {
    closeSync(reader);
    closeSync(writer);
  }
});
