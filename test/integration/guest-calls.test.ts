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
/** By command; any other gets `answer`. */
let answers: Readonly<Record<string, object>> = {};

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
      const reply = (typeof execute === 'string' ? answers[execute] : undefined) ?? answer;
      if (reply) client.write(`${jsonOf(reply)}\n`);
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

test('guestinfo has libvirt’s fields of what the agent says, and leaves out what it has no command for', async () => {
  answers = {
    'guest-get-users': { return: [{ user: 'root', 'login-time': 1795527892.5 }] },
    'guest-get-osinfo': { return: { id: 'debian', 'pretty-name': 'Debian', odd: 1 } },
    'guest-get-timezone': { return: { zone: 'CET', offset: 3600 } },
    'guest-get-host-name': { return: { 'host-name': 'guest' } },
    'guest-get-fsinfo': {
      return: [
        {
          ...{ name: 'xvda1', mountpoint: '/', type: 'ext4', 'total-bytes': 4096, 'used-bytes': 1024 },
          disk: [{ dev: '/dev/xvda1', serial: 's' }],
        },
      ],
    },
    'guest-get-disks': { return: [{ name: '/dev/xvda', partition: false, dependencies: [], address: {} }] },
    'guest-network-get-interfaces': {
      return: [
        {
          ...{ name: 'eth0', 'hardware-address': '00:16:3e:00:00:01' },
          'ip-addresses': [{ 'ip-address-type': 'ipv4', 'ip-address': '10.0.0.2', prefix: 24 }],
        },
      ],
    },
  };
  const facts = (text: string) => text.split('\n').map((line) => line.replace(/ *: /, '='));
  const all = facts(await host.ok('guestinfo', 'g'));
  expect(all).toEqual([
    ...['user.count=1', 'user.0.name=root', 'user.0.login-time=1795527892500'],
    ...['os.id=debian', 'os.pretty-name=Debian', 'timezone.name=CET', 'timezone.offset=3600', 'hostname=guest'],
    ...['fs.count=1', 'fs.0.name=xvda1', 'fs.0.mountpoint=/', 'fs.0.fstype=ext4', 'fs.0.total-bytes=4096'],
    ...['fs.0.used-bytes=1024', 'fs.0.disk.count=1', 'fs.0.disk.0.alias=xvda', 'fs.0.disk.0.serial=s'],
    ...['fs.0.disk.0.device=/dev/xvda1', 'disk.count=1', 'disk.0.name=/dev/xvda', 'disk.0.partition=no'],
    ...['disk.0.alias=xvda', 'if.count=1', 'if.0.name=eth0', 'if.0.hwaddr=00:16:3e:00:00:01'],
    ...['if.0.addr.count=1', 'if.0.addr.0.type=ipv4', 'if.0.addr.0.addr=10.0.0.2', 'if.0.addr.0.prefix=24'],
  ]);
  const lacking = { error: { class: 'CommandNotFound', desc: 'The command has not been found' } };
  answers = { ...answers, 'guest-get-disks': lacking, 'guest-get-users': { return: [null] } };
  expect(await host.refused('guestinfo', 'g', '--user')).toContain('guest-get-users reply was missing return data');
  expect(await host.refused('guestinfo', 'g', '--disk')).toContain('The command has not been found');
  answers = { ...answers, 'guest-get-users': lacking };
  const rest = facts(await host.ok('guestinfo', 'g'));
  expect([rest.includes('hostname=guest'), rest.some((each) => /^(user|disk)/.test(each))]).toEqual([true, false]);
  answers = {};
});

test('guestvcpus shows the guest’s virtual CPUs, and takes them out of use', async () => {
  const vcpu = (id: number, online: boolean) => ({ 'logical-id': id, online, 'can-offline': id > 0 });
  answers = { 'guest-get-vcpus': { return: [vcpu(0, true), vcpu(1, true), vcpu(2, true), vcpu(4, false)] } };
  expect((await host.ok('guestvcpus', 'g')).split('\n').map((line) => line.replace(/ *: /, '='))).toEqual([
    ...['vcpus=0-2,4', 'online=0-2', 'offlinable=1-2,4'],
  ]);
  commands = [];
  answer = { return: 2 };
  await host.ok('guestvcpus', 'g', '--cpulist', '1-2', '--disable');
  expect(commands.at(-1)).toBe(
    'guest-set-vcpus {"vcpus":[{"logical-id":1,"online":false},{"logical-id":2,"online":false}]}',
  );
  expect(await host.refused('guestvcpus', 'g', '--cpulist', '0-1', '--disable')).toContain(
    "vCPU '0' is not offlinable",
  );
  expect(await host.refused('guestvcpus', 'g', '--cpulist', '4-6', '--enable')).toContain(
    "guest is missing vCPUs '5-6'",
  );
  expect(await host.refused('guestvcpus', 'g', '--cpulist', 'x', '--enable')).toContain("Failed to parse bitmap 'x'");
  answers = {};
});

test('shutdown and reboot by the agent: it answers only if it refuses, and then another way that was asked for is taken', async () => {
  commands = [];
  answer = { error: { class: 'GenericError', desc: 'no' } };
  expect(await host.refused('shutdown', 'g', '--mode', 'agent')).toContain(
    "unable to execute QEMU agent command 'guest-shutdown': no",
  );
  expect(await host.refused('reboot', 'test', '--mode', 'agent')).toContain('QEMU guest agent is not configured');
  answer = undefined;
  await host.ok('reboot', 'g', '--mode', 'agent');
  expect(commands).toEqual(['guest-shutdown {"mode":"powerdown"}', 'guest-shutdown {"mode":"reboot"}']);
  answer = { error: { class: 'GenericError', desc: 'no' } };
  expect(await host.ok('domstate', 'g')).toBe('running');
  await host.ok('shutdown', 'g', '--mode', 'agent,paravirt');
  expect(await host.ok('domstate', 'g', '--reason')).toBe('shut off (shutdown)');
  await host.ok('start', 'g');
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
