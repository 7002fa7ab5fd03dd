/** Calls to a guest's agent through virsh. The agent is played: a real one would freeze the machine that runs this test. */

import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';

let host: Xlsnapd;
let agent: Server;
let commands: string[] = [];
const raw: string[] = [];
/** Undefined: none. */
let answer: object | undefined = { return: 2 };

/** Numbers that JavaScript does not hold are written as they are. */
const jsonOf = (value: object): string =>
  JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? `${each}n` : each)).replaceAll(/"(\d+)n"/g, '$1');

beforeAll(async () => {
  host = await Xlsnapd.start();
  const socket = join(host.home, 'agent');
  agent = createServer((client) => {
    createInterface(client).on('line', (line) => {
      const { execute, arguments: args } = JSON.parse(line.slice(line.indexOf('{')));
      if (execute === 'guest-sync-delimited') {
        client.write(Buffer.of(0xff));
        client.write(`${JSON.stringify({ return: args.id })}\n`);
        return;
      }
      raw.push(line.slice(line.indexOf('{')));
      commands.push(args ? `${execute} ${JSON.stringify(args)}` : execute);
      if (answer) client.write(`${jsonOf(answer)}\n`);
    });
  });
  await new Promise<void>((resolve) => agent.listen(socket, resolve));
  const xml = join(host.home, 'g.xml');
  await writeFile(
    xml,
    `<domain type='xen'><name>g</name><memory unit='MiB'>1</memory><os><type>hvm</type></os><devices>
      <disk type='file'><driver name='qemu' type='qcow2'/><source file='${await newImage(join(host.home, 'g.qcow2'))}'/><target dev='xvda' bus='xen'/></disk>
      <channel type='unix'><source mode='bind' path='${socket}'/><target type='xen' name='org.qemu.guest_agent.0'/></channel>
    </devices></domain>`,
  );
  await host.ok('define', xml);
  await host.ok('start', 'g');
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  agent.close();
  await rm(host.home, { recursive: true, force: true });
});

test('domfsfreeze and domfsthaw have the agent freeze and thaw file systems, all or those that are named', async () => {
  expect(await host.ok('domfsfreeze', 'g')).toBe('Froze 2 filesystem(s)');
  expect(await host.ok('domfsthaw', 'g')).toBe('Thawed 2 filesystem(s)');
  answer = { return: 1 };
  expect(await host.ok('domfsfreeze', 'g', '--mountpoint', '/var')).toBe('Froze 1 filesystem(s)');
  expect(await host.refused('domfsthaw', 'g', '/var')).toContain(
    'argument unsupported: specifying mountpoints is not supported',
  );
  expect(commands).toEqual([
    'guest-fsfreeze-freeze',
    'guest-fsfreeze-thaw',
    'guest-fsfreeze-freeze-list {"mountpoints":["/var"]}',
  ]);
});

test('qemu-agent-command passes a command and the reply on as they are; the agent’s refusal is reported', async () => {
  commands = [];
  answer = { return: { version: '7.2', big: [] } };
  const command = '{"execute":"guest-info",\n"arguments":{"n":12345678901234567890}}';
  expect(JSON.parse(await host.ok('qemu-agent-command', 'g', command))).toEqual(answer);
  expect(raw.at(-1)).toBe('{"execute":"guest-info", "arguments":{"n":12345678901234567890}}');
  answer = { error: { class: 'CommandNotFound', desc: 'The command nothing has not been found' } };
  expect(await host.refused('qemu-agent-command', 'g', '{"execute":"nothing"}')).toContain(
    "unable to execute QEMU agent command 'nothing': The command nothing has not been found",
  );
  answer = { error: { desc: { toString: 1, valueOf: [[]] } } };
  expect(await host.refused('qemu-agent-command', 'g', '{"execute":{"toString":1}}')).toContain(
    "unable to execute QEMU agent command '<unknown>': unknown QEMU command error",
  );
  commands = [];
  expect(await host.refused('qemu-agent-command', 'g', '{"execute":')).toContain('cannot parse json {"execute":');
  expect(await host.refused('qemu-agent-command', 'test', '{"execute":"guest-ping"}')).toContain(
    'argument unsupported: QEMU guest agent is not configured',
  );
  expect(commands).toEqual([]);
});

test('an agent that does not answer in time is given up, after the time that the caller gives', async () => {
  answer = undefined;
  expect(await host.refused('qemu-agent-command', 'g', '--timeout', '1', '{"execute":"guest-ping"}')).toContain(
    'Guest agent is not responding: no answer within 1 seconds (guest-ping',
  );
});

test('domtime shows and sets the guest’s clock, to the nanosecond', async () => {
  commands = [];
  answer = { return: 1795527892123456789n };
  expect(await host.ok('domtime', 'g')).toBe('Time: 1795527892');
  answer = { return: {} };
  await host.ok('domtime', 'g', '--time', '1795527893');
  await host.ok('domtime', 'g', '--sync');
  expect(commands).toEqual(['guest-get-time', 'guest-set-time {"time":1795527893000000000}', 'guest-set-time']);
  expect(await host.refused('domtime', 'g', '--time', '9223372037')).toContain(
    "invalid argument: Time '9223372037' is too big for guest agent",
  );
  answer = { return: 'soon' };
  expect(await host.refused('domtime', 'g')).toContain('internal error: malformed return value');
});

test('domfsinfo lists file systems with the disks that they are on, and believes no other form of reply', async () => {
  const of = (mountpoint: string, dev: string) => ({
    mountpoint,
    name: dev,
    type: 'ext4',
    disk: [{ dev: `/dev/${dev}` }],
  });
  answer = {
    return: [of('/', 'xvda1'), of('/srv', 'xvdab'), of('/a', 'xvda'), of('/b', 'xvdap2'), of('/c', '../xvda')],
  };
  const rows = (await host.ok('domfsinfo', 'g'))
    .split('\n')
    .slice(2)
    .map((line) => line.trim().split(/\s+/));
  expect(rows).toEqual([
    ['/', 'xvda1', 'ext4', 'xvda'],
    ['/srv', 'xvdab', 'ext4'],
    ['/a', 'xvda', 'ext4', 'xvda'],
    ['/b', 'xvdap2', 'ext4', 'xvda'],
    ['/c', '../xvda', 'ext4'],
  ]);
  for (const [reply, words] of [
    [{ return: 7 }, 'guest-get-fsinfo reply was missing or not an array'],
    [{ return: [null] }, "'mountpoint' missing in reply of guest-get-fsinfo"],
    [
      { return: [{ ...of('/', 'xvda1'), disk: 'xvda' }] },
      "'disk' missing or not an array in reply of guest-get-fsinfo",
    ],
    [{ return: Array(257).fill(of('/', 'xvda1')) }, 'guest-get-fsinfo reply has more than 256 file systems'],
  ] as const) {
    answer = reply;
    expect(await host.refused('domfsinfo', 'g')).toContain(`internal error: ${words}`);
  }
});

test('a guest that cannot be frozen is thawed again; without an agent, or off, there is nothing to ask', async () => {
  commands = [];
  answer = { error: { class: 'GenericError', desc: 'hook has failed' } };
  expect(await host.refused('domfsfreeze', 'g')).toContain(
    "unable to execute QEMU agent command 'guest-fsfreeze-freeze': hook has failed",
  );
  expect(commands).toEqual(['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']);
  expect(await host.refused('domfsfreeze', 'test')).toContain(
    'argument unsupported: QEMU guest agent is not configured',
  );
  await host.ok('destroy', 'g');
  expect(await host.refused('domfsthaw', 'g')).toContain('Requested operation is not valid: domain is not running');
});
