import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { endLeftovers, StorageDaemon } from '../../../src/hosts/test-storage-daemon.ts';
import { disk, hasPattern, nbdUri, newImage, qemuImg, scratchFolder, writePattern } from './embedded.ts';

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

test('what a killed host has left is ended, its images are free, its files are gone, others stay', async () => {
  await using folder = await scratchFolder();
  const image = await newImage(join(folder.path, 'a.qcow2'));
  await StorageDaemon.start(folder.path, 7, [disk('xvda', image).disk]);
  const pid = Number(await readFile(join(folder.path, '7.pid'), 'utf8'));
  await writeFile(join(folder.path, '7.ram'), '');
  await writeFile(join(folder.path, 'notes.pid'), String(process.pid));
  await endLeftovers(folder.path);
  await writePattern(image, 'qcow2', 0x11);
  await expect(access(`/proc/${pid}/exe`)).rejects.toThrow();
  expect((await readdir(folder.path)).toSorted()).toEqual(['a.qcow2', 'notes.pid']);
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
