/** The connection, on a real bus: what must not reach a caller, and what must not end the process. */

import { once } from 'node:events';
import { connect as connectTo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { busSocket } from '../../../src/dbus/address.ts';
import { Bus, type Call, type Reply, variant } from '../../../src/dbus/bus.ts';
import { PrivateBus } from '../../support/daemons/private-bus.ts';
import { refusal } from '../../support/refusal.ts';

let daemon: PrivateBus;
let bus: Bus;
let answer: (call: Call) => Promise<Reply>;
let logged: string[];

const NAME = 'org.example.Served';

const connect = (socket = busSocket(daemon.address), signal = new AbortController().signal): Promise<Bus> =>
  Bus.connect({ socket, answer: (call) => answer(call), log: (text) => logged.push(text), signal });

/** The bus, which gets other bytes than its client sends. */
async function busThatSees(sent: RegExp, seen: string): Promise<AsyncDisposable & { readonly address: string }> {
  const path = join(daemon.home, 'changing');
  const server = createServer((client) => {
    const upstream = connectTo(busSocket(daemon.address));
    client.on('data', (bytes) => upstream.write(bytes.toString('latin1').replace(sent, seen), 'latin1'));
    upstream.pipe(client);
    for (const end of [client, upstream])
      end.on('error', () => {}).on('close', () => [client, upstream].map((both) => both.destroy()));
  }).listen(path);
  await once(server, 'listening');
  return { address: `unix:path=${path}`, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const call = (...args: readonly string[]): Promise<string> =>
  daemon.call(NAME, '/some/path', 'org.example.Interface.Method', args);

beforeAll(async () => {
  daemon = await PrivateBus.start();
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

beforeEach(async () => {
  logged = [];
  answer = async () => ({ signature: '', values: [] });
  bus = await connect();
  await bus.requestName(NAME);
});

afterEach(async () => {
  await bus[Symbol.asyncDispose]();
});

test('a call comes with who, where, what and its arguments', async () => {
  const calls: Call[] = [];
  answer = async (received) => {
    calls.push(received);
    return { signature: 'su', values: ['done', 7] };
  };
  expect(await call('string:ü', 'uint32:4000000000')).toBe('done   uint32 7');
  expect(calls).toEqual([
    {
      sender: expect.stringMatching(/^:1\.\d+$/),
      path: '/some/path',
      interface: 'org.example.Interface',
      member: 'Method',
      signature: 'su',
      args: ['ü', 4_000_000_000],
    },
  ]);
});

test('variants and 64 bits go out whole', async () => {
  answer = async () => ({
    signature: 'va{sv}t',
    values: [variant('t', 2n ** 64n - 1n), { a: variant('b', true) }, 1n],
  });
  expect((await call()).replace(/\s+/g, ' ')).toBe(
    'variant uint64 18446744073709551615 array [ dict entry( a variant boolean true ) ] uint64 1',
  );
});

test('an error has the name and the text that it is given, and nothing of ours', async () => {
  answer = async () => ({ error: 'org.libvirt.Error', text: 'no such\0thing' });
  expect(await call()).toBe('Error org.libvirt.Error: no such\\x00thing');
  answer = () => Promise.reject(new Error('a secret'));
  expect(await call()).toBe('Error org.freedesktop.DBus.Error.Failed: internal error');
  expect(logged).toEqual(['D-Bus call Method of /some/path: internal error: a secret']);
});

test('a reply that D-Bus cannot carry is an error, and the connection goes on', async () => {
  answer = async () => ({ signature: 's', values: ['with\0nul'] });
  expect(await call()).toBe('Error org.freedesktop.DBus.Error.Failed: the reply cannot be sent over D-Bus');
  answer = async () => ({ signature: 's', values: ['fine'] });
  expect(await call()).toBe('fine');
});

test('a message that dbus-next cannot read is dropped, and the next one is answered', async () => {
  // A file descriptor's index without the descriptor: the bus lets it through. No program sends that: it is made of a number.
  const target = ['--dest', NAME, '--object-path', '/some/path', '--method', 'org.example.Interface.Method'];
  await using changing = await busThatSees(/au\0/g, 'ah\0');
  await daemon.run('gdbus', 'call', '--address', changing.address, '--timeout', '1', ...target, '@au [0]');
  expect(logged).toEqual(['D-Bus message dropped: internal error: No FDs available']);
  answer = async () => ({ signature: 's', values: ['alive'] });
  expect(await call()).toBe('alive');
});

test('one who wants no reply gets none', async () => {
  let calls = 0;
  answer = async () => {
    calls += 1;
    return { signature: 's', values: ['unwanted'] };
  };
  const method = ['/some/path', 'org.example.Interface.Method'];
  await daemon.run('dbus-send', `--bus=${daemon.address}`, `--dest=${NAME}`, '--type=method_call', ...method);
  await call();
  expect(calls).toBe(2);
});

test('names: own, taken, to be started, nobody', async () => {
  await using other = await connect();
  expect(await other.requestName(NAME)).toBe(false);
  expect(await bus.requestName(NAME)).toBe(true);
  expect(await other.isProvided(NAME)).toBe(true);
  expect(await other.isProvided('org.example.Nobody')).toBe(false);
});

test('the bus says who is behind a connection', async () => {
  const senders: string[] = [];
  answer = async ({ sender }) => {
    const { uid, gids } = await bus.credentials(sender);
    senders.push(`${uid} ${gids.includes(process.getgid?.() ?? -1)}`);
    return { signature: '', values: [] };
  };
  await call();
  expect(senders).toEqual([`${process.getuid?.()} true`]);
  // One that has gone.
  expect((await refusal(bus.credentials(':1.999999'))).message).toContain('GetConnectionCredentials');
});

test('disposal frees the name, and what is called after it fails', async () => {
  await bus[Symbol.asyncDispose]();
  await using other = await connect();
  expect(await other.requestName(NAME)).toBe(true);
  expect((await refusal(bus.requestName(NAME))).message).toContain('the connection to the bus was lost');
  bus.emit({ path: '/', interface: 'org.example.Interface', member: 'Late', signature: '', values: [] });
});

test('a bus that goes away ends the connection, and the calls to it that wait', async () => {
  const other = await PrivateBus.start();
  const lost = await connect(busSocket(other.address));
  other.stop();
  const waiting = refusal(lost.requestName('org.example.Late'));
  await other[Symbol.asyncDispose]();
  await lost.closed;
  expect((await waiting).code).toBe('OPERATION_FAILED');
  await lost[Symbol.asyncDispose]();
});

test.each([
  ['nobody listens', () => join(daemon.home, 'nobody'), 'ENOENT'],
  ['a path that the address cannot hold', () => '/tmp/a,b', 'unusable path'],
])('%s', async (_what, socket, text) => {
  expect((await refusal(connect(socket()))).message).toContain(text);
});

test('one that accepts and says nothing is given up with the attempt', async () => {
  const path = join(daemon.home, 'mute');
  await using server = createServer((socket) => socket.on('error', () => {})).listen(path);
  await once(server, 'listening');
  const stop = new AbortController();
  const attempt = refusal(connect(path, stop.signal));
  await once(server, 'connection');
  stop.abort();
  expect((await attempt).message).toContain('the bus does not answer');
});

test('a Hello that is refused fails the attempt, and no more', async () => {
  await using full = await PrivateBus.start({
    configuration: `<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/></policy>
      <limit name="max_connections_per_user">1</limit>`,
  });
  await using _first = await connect(busSocket(full.address));
  expect((await refusal(connect(busSocket(full.address)))).message).toContain(
    'The maximum number of active connections',
  );
});
