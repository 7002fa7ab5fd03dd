import { once } from 'node:events';
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ConnectionHandler, type ListenOptions, listen } from '../../../../src/rpc/server/server.ts';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xlsnap-server-'));
  path = join(directory, 'sock');
});

afterEach(() => rmSync(directory, { recursive: true }));

const ignore: ConnectionHandler = (socket) => socket.resume();
const at = (more: Partial<ListenOptions> = {}): ListenOptions => ({ path, readOnly: false, mode: 0o660, ...more });

/** Leaves a socket file that nobody listens at, as a killed daemon does. */
async function leaveStale(): Promise<void> {
  const other = join(directory, 'other');
  const server = createServer().listen(other);
  await once(server, 'listening');
  renameSync(other, path);
  server.close();
  await once(server, 'close');
  expect(existsSync(path)).toBe(true);
}

test('nobody else can connect before the socket has its own mode and group', async () => {
  const { listen: original } = Server.prototype;
  const before = process.umask(0o022);
  const masks: number[] = [];
  Server.prototype.listen = function (this: Server, ...args: Parameters<typeof original>) {
    const mask = process.umask(0);
    process.umask(mask);
    masks.push(mask);
    return original.apply(this, args);
  } as typeof original;
  try {
    await using _listener = await listen(at({ mode: 0o666 }), ignore);
    expect(masks).toEqual([0o177]);
    expect(statSync(path).mode & 0o777).toBe(0o666);
  } finally {
    Server.prototype.listen = original;
    expect(process.umask(before)).toBe(0o022);
  }
});

test('hands each connection over, and says which socket it came by', async () => {
  const seen: boolean[] = [];
  const handler: ConnectionHandler = (socket, { readOnly }) => {
    seen.push(readOnly);
    socket.end('hello');
  };
  await using _rw = await listen(at(), handler);
  await using _ro = await listen(at({ path: `${path}-ro`, readOnly: true }), handler);
  for (const socket of [path, `${path}-ro`]) {
    const [greeting] = await once(connect(socket), 'data');
    expect(String(greeting)).toBe('hello');
  }
  expect(seen).toEqual([false, true]);
});

test('the socket file has the mode and the group that are asked for', async () => {
  await using _listener = await listen(at({ mode: 0o640, gid: process.getgid?.() ?? 0 }), ignore);
  expect(statSync(path).mode & 0o777).toBe(0o640);
  expect(statSync(path).gid).toBe(process.getgid?.());
});

test('disposing of it ends every connection and removes the file', async () => {
  const listener = await listen(at(), ignore);
  const client = connect(path);
  await once(client, 'connect');
  const closed = once(client, 'close');
  await listener[Symbol.asyncDispose]();
  await closed;
  expect(existsSync(path)).toBe(false);
});

describe('at a path that is taken', () => {
  test('by a socket that nobody answers on, it takes over', async () => {
    await leaveStale();
    await using _listener = await listen(at(), ignore);
    const client = connect(path);
    await once(client, 'connect');
    client.destroy();
  });

  test('by another daemon, it refuses and leaves that one alone', async () => {
    await using _first = await listen(at(), ignore);
    await expect(listen(at(), ignore)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: expect.stringMatching(/^Failed to bind socket to '.*': Address already in use: another process answers/),
    });
    const client = connect(path);
    await once(client, 'connect');
    client.destroy();
  });

  test('by a file, it refuses and keeps the file', async () => {
    writeFileSync(path, 'precious');
    await expect(listen(at(), ignore)).rejects.toThrow(`Failed to bind socket to '${path}': Address already in use`);
    expect(statSync(path).isFile()).toBe(true);
  });
});

test('a folder that is not there is named', async () => {
  const missing = join(directory, 'none', 'sock');
  await expect(listen(at({ path: missing }), ignore)).rejects.toMatchObject({
    code: 'SYSTEM_ERROR',
    message: `Failed to bind socket to '${missing}': No such file or directory`,
  });
});

test('a connection that breaks ends nothing else', async () => {
  await using _listener = await listen(at(), (socket) => {
    socket.destroy(new Error('broken'));
  });
  for (let round = 0; round < 2; round += 1) await once(connect(path), 'close');
});
