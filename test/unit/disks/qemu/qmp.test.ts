import { writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Qmp, qmpSocketOf } from '../../../../src/disks/qemu/qmp.ts';
import { LibvirtError, throwIfCancelled } from '../../../../src/errors.ts';
import { StorageDaemon } from '../../../../src/hosts/embedded/storage-daemon.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

const { signal } = new AbortController();

/** A monitor that says what a test wants it to. */
async function monitor(path: string, serve: (client: Socket) => void) {
  const server = createServer((client) => {
    client.on('error', () => {});
    serve(client);
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  return { [Symbol.asyncDispose]: () => new Promise<void>((closed) => server.close(() => closed())) };
}

describe('a conversation with QEMU', () => {
  test('a second client waits until the first has left', async () => {
    await using folder = await scratchFolder();
    await using daemon = await StorageDaemon.start(folder.path, 1, []);
    const first = await Qmp.connect(daemon.qmpSocket, signal);
    let connected = false;
    const second = Qmp.connect(daemon.qmpSocket, signal).then((qmp) => {
      connected = true;
      return qmp;
    });
    await sleep(200);
    expect(connected).toBe(false);
    await first[Symbol.asyncDispose]();
    await using qmp = await second;
    expect(await qmp.execute('query-version', {}, 'QEMU')).toHaveProperty('qemu.major');
  });

  test('many clients at once all get their turn', async () => {
    await using folder = await scratchFolder();
    await using daemon = await StorageDaemon.start(folder.path, 1, []);
    const talk = async () => {
      await using qmp = await Qmp.connect(daemon.qmpSocket, signal);
      return await qmp.execute('query-version', {}, 'QEMU');
    };
    expect(await Promise.all(Array.from({ length: 8 }, talk))).toHaveLength(8);
  });

  test('waiting for the greeting can be cancelled', async () => {
    await using folder = await scratchFolder();
    await using daemon = await StorageDaemon.start(folder.path, 1, []);
    await using _first = await Qmp.connect(daemon.qmpSocket, signal);
    const abort = new AbortController();
    const second = Qmp.connect(daemon.qmpSocket, abort.signal);
    setTimeout(() => abort.abort(), 50);
    await expect(second).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
  });

  test('an error names command, subject and what QEMU said, and the conversation goes on', async () => {
    await using folder = await scratchFolder();
    await using daemon = await StorageDaemon.start(folder.path, 1, []);
    await using qmp = await Qmp.connect(daemon.qmpSocket, signal);
    await expect(qmp.execute('blockdev-del', { 'node-name': 'xvda-qcow2' }, "disk 'xvda'")).rejects.toThrow(
      /^operation failed: blockdev-del of disk 'xvda' failed: Failed to find node with node-name='xvda-qcow2'$/,
    );
    expect(await qmp.execute('query-version', {}, 'QEMU')).toHaveProperty('qemu.major');
  });

  test('case 12: a command that QEMU cannot read is refused at once, without an id', async () => {
    await using folder = await scratchFolder();
    await using daemon = await StorageDaemon.start(folder.path, 1, []);
    await using qmp = await Qmp.connect(daemon.qmpSocket, signal);
    const started = Date.now();
    await expect(qmp.execute('blockdev-del', { 'node-name': 'a\ufdd0' }, "disk 'xvda'")).rejects.toThrow(
      /^operation failed: blockdev-del of disk 'xvda' failed: (?:\d+:\d+: )?JSON parse error/,
    );
    expect(Date.now() - started).toBeLessThan(10_000);
    expect(await qmp.execute('query-version', {}, 'QEMU')).toHaveProperty('qemu.major');
  });

  test('events between the replies are ignored, and messages may come in any pieces', async () => {
    await using folder = await scratchFolder();
    const path = join(folder.path, 'qmp');
    await using _ = await monitor(path, (client) => {
      client.write('{"QMP": {}}\r\n{"event": "RESUME"}\r\n');
      client.on('data', async (data) => {
        const { id } = JSON.parse(String(data)) as { id: number };
        const text = `{"event": "STOP"}\n{"id": ${id - 1}, "return": "old"}\n{"id": ${id}, "return": "ü"}\n`;
        for (const byte of Buffer.from(text)) {
          client.write(Uint8Array.of(byte));
          await sleep(0);
        }
      });
    });
    await using qmp = await Qmp.connect(path, signal);
    expect(await qmp.execute('query-name', {}, 'QEMU')).toBe('ü');
  });

  test('a monitor that goes away is an error that names its socket', async () => {
    await using folder = await scratchFolder();
    const path = join(folder.path, 'qmp');
    await using _ = await monitor(path, (client) => {
      client.write('{"QMP": {}}\n');
      client.on('data', (data) => {
        if (data.includes('qmp_capabilities')) client.write('{"return": {}, "id": 1}\n');
        else client.end();
      });
    });
    await using qmp = await Qmp.connect(path, signal);
    await expect(qmp.execute('stop', {}, 'the guest')).rejects.toMatchObject({
      detail: `stop of the guest failed: the device model closed the connection (device model at '${path}')`,
      reason: 'device-model-gone',
    });
  });

  test('words that are not QMP are an error, not a crash', async () => {
    await using folder = await scratchFolder();
    const path = join(folder.path, 'qmp');
    await using _ = await monitor(path, (client) => client.write('SSH-2.0-OpenSSH_9.2\r\n'));
    await expect(Qmp.connect(path, signal)).rejects.toMatchObject({ code: 'OPERATION_FAILED' });
  });

  test('a socket that nobody serves is refused at once, by name', async () => {
    const started = Date.now();
    await expect(Qmp.connect('/nonexistent/qmp', signal)).rejects.toMatchObject({
      message:
        "operation failed: cannot talk to the device model at '/nonexistent/qmp': connect ENOENT /nonexistent/qmp",
      reason: 'device-model-gone',
    });
    expect(Date.now() - started).toBeLessThan(1000);
  });
});

test('the monitor for xenstat comes before the one that libxl needs', async () => {
  await using folder = await scratchFolder();
  await expect(qmpSocketOf(7, folder.path)).rejects.toThrow(
    `no device model serves the disks of domain 7: neither ${folder.path}/qmp-libxenstat-7 nor ${folder.path}/qmp-libxl-7`,
  );
  await writeFile(`${folder.path}/qmp-libxl-7`, '');
  expect(await qmpSocketOf(7, folder.path)).toBe(`${folder.path}/qmp-libxl-7`);
  await writeFile(`${folder.path}/qmp-libxenstat-7`, '');
  expect(await qmpSocketOf(7, folder.path)).toBe(`${folder.path}/qmp-libxenstat-7`);
});

test('a cancelled operation ends with the reason it was cancelled for', () => {
  throwIfCancelled(signal);
  const reason = new LibvirtError('OPERATION_ABORTED', "job 'snapshot' canceled by client");
  expect(() => throwIfCancelled(AbortSignal.abort(reason))).toThrow(reason);
  expect(() => throwIfCancelled(AbortSignal.abort())).toThrow('operation aborted: cancelled by client');
});
