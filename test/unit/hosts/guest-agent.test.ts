/** The agent's end is played: a real one would freeze the file systems of the machine that runs this test. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { freezeGuest } from '../../../src/hosts/guest-agent.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { until } from '../../support/until.ts';

let dir: string;
let server: Server | undefined;
let commands: string[];

const path = () => join(dir, 'agent');
const domain = (type = 'xen') =>
  parseDefinition(`<domain type='xen'><name>vm</name><devices>
    <channel type='unix'><source mode='bind' path='/elsewhere'/><target type='${type}' name='other'/></channel>
    <channel type='unix'><source mode='bind' path='${path()}'/><target type='${type}' name='org.qemu.guest_agent.0'/></channel>
  </devices></domain>`);

/** `answer` to everything but the sync. `stale`: bytes that it still sends to an earlier client. */
async function agent(answer: (command: string) => object, stale: readonly string[] = []): Promise<void> {
  server = createServer((socket) => {
    for (const text of stale) socket.write(text, 'latin1');
    createInterface(socket).on('line', (line) => {
      const { execute, arguments: args } = JSON.parse(line.slice(line.indexOf('{')));
      commands.push(execute);
      if (execute === 'guest-sync-delimited') socket.write(Buffer.of(0xff));
      const reply = execute === 'guest-sync-delimited' ? { return: args.id } : answer(execute);
      socket.write(`${JSON.stringify(reply)}\n`);
    });
  });
  await new Promise<void>((resolve) => server?.listen(path(), resolve));
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'agent-'));
  commands = [];
});
afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(dir, { recursive: true, force: true });
});

describe('a guest with an agent', () => {
  test.each(['xen', 'virtio'])('on a %s channel is frozen until that is disposed of', async (type) => {
    await agent(() => ({ return: 2 }));
    const frozen = await freezeGuest(domain(type));
    expect(commands).toEqual(['guest-sync-delimited', 'guest-fsfreeze-freeze']);
    await frozen[Symbol.asyncDispose]();
    expect(commands.slice(2)).toEqual(['guest-sync-delimited', 'guest-fsfreeze-thaw']);
  });

  test('that still answers an earlier client is listened to until it answers us', async () => {
    await agent(
      (command) => (command.endsWith('freeze') ? { error: { desc: 'busy' } } : { return: 1 }),
      [
        '{"return": 1}\n',
        '{"error": {"desc": "of an earlier command"}}\n',
        '\xff{"return": 1}\n{"return": "half an ans',
      ],
    );
    await expect(freezeGuest(domain())).rejects.toMatchObject({ detail: expect.stringContaining('freeze') });
  });

  test('that cannot freeze is thawed again, and its words are told', async () => {
    await agent((command) => (command.endsWith('freeze') ? { error: { desc: 'busy' } } : { return: 0 }));
    await expect(freezeGuest(domain())).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
      detail: "unable to execute QEMU agent command 'guest-fsfreeze-freeze': busy",
    });
    expect(commands.at(-1)).toBe('guest-fsfreeze-thaw');
  });
});

/** Told to refuse what would freeze the machine that runs this test. */
test('the real agent is synchronised with, and its own words are reported', async () => {
  const blocked = 'guest-fsfreeze-freeze,guest-fsfreeze-thaw';
  const words = ['--method=unix-listen', `--path=${path()}`, `--statedir=${dir}`, `--block-rpcs=${blocked}`];
  const real = spawn('qemu-ga', words, { stdio: 'ignore' });
  const ended = once(real, 'exit');
  try {
    await until(() => existsSync(path()));
    await expect(freezeGuest(domain())).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
      detail: expect.stringMatching(/^unable to execute QEMU agent command 'guest-fsfreeze-freeze': .*disabled/),
    });
  } finally {
    real.kill();
    await ended;
  }
});

describe('a guest without one', () => {
  test('is refused as libvirt does (74) where no channel is defined', async () => {
    const bare = parseDefinition("<domain type='xen'><name>vm</name><devices/></domain>");
    await expect(freezeGuest(bare)).rejects.toMatchObject({
      code: 'ARGUMENT_UNSUPPORTED',
      detail: 'QEMU guest agent is not configured',
    });
  });

  test('is refused (86), naming the socket, where nobody listens', async () => {
    await expect(freezeGuest(domain())).rejects.toMatchObject({
      code: 'AGENT_UNRESPONSIVE',
      detail: expect.stringContaining(path()),
    });
  });
});
