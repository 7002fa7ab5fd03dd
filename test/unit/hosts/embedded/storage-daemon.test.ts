import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { endLeftovers, StorageDaemon } from '../../../../src/hosts/embedded/storage-daemon.ts';
import {
  disk,
  hasPattern,
  nbdUri,
  newImage,
  qemuImg,
  scratchFolder,
  writePattern,
} from '../../../support/hosts/embedded.ts';
import { until } from '../../../support/until.ts';

test('disks are served under the names of a Xen guest, and written through', async () => {
  await using folder = await scratchFolder();
  const image = await newImage(join(folder.path, 'a.qcow2'));
  const daemon = await StorageDaemon.start(folder.path, 1, [disk('xvda', image).disk]);
  expect(daemon.node('xvda')).toEqual({ disk: 'xvda', node: 'xvda-qcow2' });
  await writePattern(nbdUri(daemon.nbdSocket, 'xvda'), 'raw', 0x11);
  await daemon[Symbol.asyncDispose]();
  expect(await hasPattern(image, 'qcow2', 0x11)).toBe(true);
  expect(await readdir(folder.path)).toEqual(['a.qcow2']);
});

test('a read-only disk cannot be written', async () => {
  await using folder = await scratchFolder();
  const image = join(folder.path, 'a.raw');
  await qemuImg('create', '-q', '-f', 'raw', image, '8M');
  const { readwrite: _, ...readOnly } = disk('xvda', image, 'raw').disk;
  await using daemon = await StorageDaemon.start(folder.path, 1, [readOnly]);
  await expect(writePattern(nbdUri(daemon.nbdSocket, 'xvda'), 'raw', 0x11)).rejects.toThrow();
});

test('what is no image of its format is not opened, and a snapshot of it is refused by name', async () => {
  await using folder = await scratchFolder();
  const image = join(folder.path, 'a.raw');
  await writeFile(image, 'not qcow2');
  const disks = [disk('xvda', image), disk('xvdb', join(folder.path, 'missing')), disk('xvdc', folder.path, 'raw')];
  await using daemon = await StorageDaemon.start(
    folder.path,
    1,
    disks.map((each) => each.disk),
  );
  for (const vdev of ['xvda', 'xvdb', 'xvdc']) expect(() => daemon.node(vdev)).toThrow(`disk '${vdev}' has no image`);
});

test('stopping a daemon that has died is fine', async () => {
  await using folder = await scratchFolder();
  const daemon = await StorageDaemon.start(folder.path, 1, []);
  process.kill(Number(await readFile(join(folder.path, '1.pid'), 'utf8')), 'SIGKILL');
  await daemon[Symbol.asyncDispose]();
});

/** Another process starts a host in `stateDir` and is killed without a chance to clean up. */
async function killedHost(stateDir: string): Promise<number> {
  const program = 'qemu-storage-daemon';
  const args = [
    '--chardev',
    `socket,id=qmp,path=${join(stateDir, '7.qmp')},server=on,wait=off`,
    '--monitor',
    'chardev=qmp',
  ];
  const image = ['--blockdev', `driver=qcow2,node-name=a,file.driver=file,file.filename=${join(stateDir, 'a.qcow2')}`];
  spawn(program, [...args, ...image, '--pidfile', join(stateDir, '7.pid')], {
    detached: true,
    stdio: 'ignore',
  }).unref();
  await until(() =>
    readFile(join(stateDir, '7.pid')).then(
      () => true,
      () => false,
    ),
  );
  return Number(await readFile(join(stateDir, '7.pid'), 'utf8'));
}

test('what a killed host has left is ended, its images are free, its files are gone, others stay', async () => {
  await using folder = await scratchFolder();
  const image = await newImage(join(folder.path, 'a.qcow2'));
  const pid = await killedHost(folder.path);
  await expect(writePattern(image, 'qcow2', 0x11)).rejects.toThrow('lock');
  await writeFile(join(folder.path, '7.ram'), '');
  await writeFile(join(folder.path, 'notes.pid'), String(process.pid));
  await endLeftovers(folder.path);
  await writePattern(image, 'qcow2', 0x11);
  await until(() =>
    access(`/proc/${pid}/exe`).then(
      () => false,
      () => true,
    ),
  );
  expect((await readdir(folder.path)).toSorted()).toEqual(['a.qcow2', 'notes.pid']);
});

test('a daemon that cannot start says why, and leaves no file', async () => {
  await using folder = await scratchFolder();
  const image = await newImage(join(folder.path, 'a.qcow2'));
  const disks = [disk('xvda', image).disk];
  await using _first = await StorageDaemon.start(folder.path, 1, disks);
  await expect(StorageDaemon.start(folder.path, 2, disks)).rejects.toThrow(
    /^operation failed: cannot start the device model: qemu-storage-daemon: .*Failed to get "write" lock/,
  );
  expect((await readdir(folder.path)).toSorted()).toEqual(['1.log', '1.nbd', '1.pid', '1.qmp', 'a.qcow2']);
});

test('a process that has the pid by now and is not ours is left alone', async () => {
  await using folder = await scratchFolder();
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  await writeFile(join(folder.path, '1.pid'), `${child.pid}\n`);
  await endLeftovers(folder.path);
  expect(child.exitCode ?? child.signalCode).toBe(null);
  child.kill();
  expect(await readdir(folder.path)).toEqual([]);
});
