/** Calls to a guest's agent through virsh. The agent is played: a real one would freeze the machine that runs this test. */

import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

let host: Xlsnapd;
let agent: Server;
let commands: string[] = [];
let answer: object = { return: 2 };

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
      commands.push(args ? `${execute} ${JSON.stringify(args)}` : execute);
      client.write(`${JSON.stringify(answer)}\n`);
    });
  });
  await new Promise<void>((resolve) => agent.listen(socket, resolve));
  const xml = join(host.home, 'g.xml');
  await writeFile(
    xml,
    `<domain type='xen'><name>g</name><memory unit='MiB'>1</memory><os><type>hvm</type></os><devices>
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
