/** What is on stable storage, in which order, before success is reported: the daemon's own system calls, as strace sees them. */

import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Interference } from '../faults/interference.ts';
import { UUID, World } from '../faults/world.ts';
import { startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';

const ONE = '11111111-2222-3333-4444-777777777777';

let world: World;

beforeAll(async () => {
  world = await World.open();
});

afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

/** The calls of a daemon, and of what it starts, until the client has its answer: `fsync <path>`, `rename <from> <to>`. */
async function callsOf(work: () => Promise<void>, pid = world.daemon.pid): Promise<readonly string[]> {
  const calls = ['fsync', 'fdatasync', 'rename', 'unlink'];
  const watching = await Interference.begin(pid, { calls, paths: [] }, join(world.home, 'strace'));
  await work();
  const lines = await watching.seen();
  await watching.end();
  return lines.flatMap((line) => {
    const call = /^\d+ +(\w+)\(/.exec(line)?.[1];
    const paths = [...line.matchAll(/[<"](\/[^>"]+)[>"]/g)].map((match) => match[1]);
    return call === undefined ? [] : [[call, ...paths].join(' ')];
  });
}

const expectInOrder = (calls: readonly string[], wanted: readonly string[]): void => {
  const found = calls.filter((call) => wanted.includes(call));
  let at = 0;
  for (const call of found) if (call === wanted[at]) at += 1;
  expect(wanted.slice(at)).toEqual([]);
};

test('memory and metadata of a snapshot are, each file before its name, and its name before the answer', async () => {
  const seen = await callsOf(() => world.create('s1'));
  const memory = world.memoryImage('s1');
  // The memory image is renamed in its folder by the folder's descriptor.
  const calls = seen.map((call) =>
    call.replaceAll(/\/proc\/self\/fd\/\d+(?=\/s1\.save)/g, join(world.home, 'memory', UUID)),
  );
  const metadata = world.metadata('s1');
  expectInOrder(calls, [
    `fsync ${world.journal}.new`,
    `rename ${world.journal}.new ${world.journal}`,
    `fsync ${memory}.partial`,
    `rename ${memory}.partial ${memory}`,
    `fsync ${join(world.home, 'memory', UUID)}`,
    `fsync ${metadata}.new`,
    `rename ${metadata}.new ${metadata}`,
    `fsync ${join(world.home, 'snapshot/test')}`,
    `unlink ${world.journal}`,
    `fsync ${join(world.home, 'state/journal')}`,
  ]);
});

test('so is memory that libvirtd has written', async () => {
  await using libvirtd = await startLibvirtd();
  const home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  // libvirtd writes the memory images itself, and is not root.
  await chmod(home, 0o755);
  await using daemon = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  await newImage(join(home, 'a.qcow2'));
  const xml = join(home, 'one.xml');
  await writeFile(
    xml,
    `<domain type='test'><name>one</name><uuid>${ONE}</uuid><memory>4096</memory><os><type>hvm</type></os><devices>
     <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${join(home, 'a.qcow2')}'/><target dev='vda'/></disk>
     </devices></domain>`,
  );
  await daemon.ok('create', xml);
  const calls = await callsOf(() => daemon.ok('snapshot-create-as', 'one', 's1').then(() => {}), daemon.pid);
  const metadata = join(home, 'snapshot/one/s1.xml');
  expectInOrder(calls, [
    `fsync ${join(home, 'memory', ONE, 's1.save')}`,
    `fsync ${join(home, 'memory', ONE)}`,
    `fsync ${join(home, 'a.qcow2')}`,
    `rename ${metadata}.new ${metadata}`,
  ]);
  await rm(home, { recursive: true });
}, 60_000);

test('so are images that nobody has open', async () => {
  await world.destroy();
  const calls = await callsOf(() => world.create('s2'));
  expectInOrder(calls, [`fsync ${world.images[0]}`, `rename ${world.metadata('s2')}.new ${world.metadata('s2')}`]);
});

test('a delete is, too', async () => {
  const calls = await callsOf(() => world.delete('s1'));
  expectInOrder(calls, [
    `fsync ${world.images[0]}`,
    `unlink ${world.memoryImage('s1')}`,
    `unlink ${world.metadata('s1')}`,
    `fsync ${join(world.home, 'snapshot/test')}`,
  ]);
});

test('a foreign qemu-img on an image in use is refused by its lock', async () => {
  await world.start();
  const foreign = promisify(execFile)('qemu-img', ['snapshot', '-c', 'foreign', world.images[0] ?? '']);
  await expect(foreign).rejects.toThrow(/lock/);
  expect(await world.inImages()).toEqual(['s2']);
});
