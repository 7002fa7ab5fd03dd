/** Copies of a running guest's disk: virsh blockcopy, real virsh, a real QEMU block layer. */

import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { guestDisk, lastLine } from '../support/disks/guest-disk.ts';

const run = promisify(execFile);
const NOT_VALID = 'Requested operation is not valid';

let host: Xlsnapd;
const { file, isThere, disk, guest, overlay } = guestDisk(() => host);

beforeAll(async () => {
  host = await Xlsnapd.start();
});

/** The guest is on none of them any more. */
afterEach(async () => {
  for (const left of ['test.b1', 'test.b2', 'test.b3']) await rm(file(left), { force: true });
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

const copy = (...args: readonly string[]) => ['blockcopy', 'test', 'xvda', ...args, '--transient-job'] as const;
const info = async (path: string) =>
  JSON.parse((await run('qemu-img', ['info', '-U', '--output=json', path])).stdout) as Record<string, unknown>;
/** The guest is on its base again, and the copies are gone. */
const back = async (...copies: readonly string[]) => {
  await host.ok(...copy('--dest', file('back.qcow2'), '--wait', '--pivot'));
  await rm(file('test.qcow2'));
  await host.ok(...copy('--dest', file('test.qcow2'), '--wait', '--pivot'));
  for (const left of ['back.qcow2', ...copies]) await rm(file(left));
};

test('a copy is pivoted to: both definitions name it, and nothing is below it', async () => {
  await guest('write -P 7 0 1M');
  await overlay('b1');
  await guest('write -P 8 1M 1M');
  const copied = await host.ok(...copy('--dest', file('copy.qcow2'), '--wait', '--verbose', '--pivot'));
  expect(lastLine(copied)).toBe('Successfully pivoted');
  expect([await disk(), await disk('--inactive')]).toEqual([file('copy.qcow2'), file('copy.qcow2')]);
  expect(await info(file('copy.qcow2'))).not.toHaveProperty('backing-filename');
  expect(await guest('read -P 7 0 1M')).not.toContain('failed');
  expect(await guest('read -P 8 1M 1M')).not.toContain('failed');
  expect(await host.ok('blockjob', 'test', 'xvda')).toBe('No current block job for xvda');
  // What the disk has left is closed: others may write to it, and an overlay is made of the copy.
  await run('qemu-io', ['-c', 'write -P 9 0 64k', file('test.b1')]);
  await overlay('b2');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  await back('copy.qcow2');
});

test('a copy that is shallow has the same backing image, also if the client has made it', async () => {
  await guest('write -P 1 0 1M');
  await overlay('b1');
  await guest('write -P 2 1M 1M');
  await host.ok(...copy('--dest', file('test.b2'), '--shallow', '--wait', '--pivot'));
  expect(await disk()).toBe(file('test.b2'));
  expect(await info(file('test.b2'))).toMatchObject({ 'backing-filename': file('test.qcow2') });
  expect(await guest('read -P 1 0 1M')).not.toContain('failed');
  expect(await guest('read -P 2 1M 1M')).not.toContain('failed');
  const create = ['create', '-q', '-f', 'qcow2', '-b', 'test.qcow2', '-F', 'qcow2', file('test.b3')];
  await run('qemu-img', create);
  await host.ok(...copy('--dest', file('test.b3'), '--shallow', '--reuse-external', '--wait', '--pivot'));
  expect(await disk()).toBe(file('test.b3'));
  expect(await info(file('test.b3'))).toMatchObject({ 'backing-filename': 'test.qcow2' });
  expect(await guest('read -P 2 1M 1M')).not.toContain('failed');
  await host.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
  expect(await guest('read -P 2 1M 1M')).not.toContain('failed');
});

test('a copy that is finished holds what the disk held; the guest stays where it is', async () => {
  await guest('write -P 5 0 1M');
  const options = ['--format', 'raw', '--granularity', '65536', '--buf-size', '1048576', '--bandwidth', '100'];
  const copied = await host.ok(...copy('--dest', file('copy.raw'), ...options, '--wait', '--finish'));
  expect(lastLine(copied)).toBe('Successfully copied');
  expect(await disk()).toBe(file('test.qcow2'));
  expect((await run('qemu-io', ['-f', 'raw', '-c', 'read -P 5 0 1M', file('copy.raw')])).stdout).not.toContain(
    'failed',
  );
  // It is closed: it can be removed, and made again.
  await rm(file('copy.raw'));
  expect(await host.ok(...copy('--dest', file('copy.raw'), '--format', 'raw'))).toBe('Block Copy started');
  await host.ok('blockjob', 'test', 'xvda', '--abort');
  await rm(file('copy.raw'));
});

test('a copy of a transient domain needs no option; an XML document names the destination', async () => {
  await host.ok('undefine', 'test', '--snapshots-metadata');
  await writeFile(
    file('dest.xml'),
    `<disk type='file'><driver type='qcow2'/><source file='${file('copy.qcow2')}'/></disk>`,
  );
  await host.ok('blockcopy', 'test', 'xvda', '--xml', file('dest.xml'), '--wait', '--pivot');
  expect(await disk()).toBe(file('copy.qcow2'));
  await host.ok('blockcopy', 'test', 'xvda', file('copy2.qcow2'), '--wait', '--pivot', '--bandwidth', '50');
  expect(await disk()).toBe(file('copy2.qcow2'));
  const live = await host.ok('dumpxml', 'test');
  await writeFile(file('test.xml'), live);
  await host.ok('define', file('test.xml'));
  await back('copy.qcow2', 'copy2.qcow2');
});

test('snapshots stay what they were after a pivot: one is merged from the copy, one is reverted to', async () => {
  await guest('write -P 1 0 1M');
  await host.ok('snapshot-create-as', 'test', 'inside');
  await host.ok('snapshot-create-as', 'test', 'outside', '--disk-only');
  await guest('write -P 2 0 1M');
  await host.ok(...copy('--dest', file('copy.qcow2'), '--shallow', '--wait', '--pivot'));
  await guest('write -P 3 512k 512k');
  await host.ok('snapshot-delete', 'test', 'outside');
  expect(await disk()).toBe(file('test.qcow2'));
  expect(await guest('read -P 2 0 512k')).not.toContain('failed');
  expect(await guest('read -P 3 512k 512k')).not.toContain('failed');
  await host.ok('snapshot-revert', 'test', 'inside');
  expect(await guest('read -P 1 0 1M')).not.toContain('failed');
  expect(await disk()).toBe(file('test.qcow2'));
  await host.ok('snapshot-delete', 'test', 'inside');
});

test('the guest does not go over to a copy at whose path it could not be started again; the copy can be finished', async () => {
  const path = file('a copy');
  await host.ok(...copy('--dest', path, '--wait'));
  expect(await host.refused('blockjob', 'test', 'xvda', '--pivot')).toContain(
    'has white space, at which Xen ends it, in its path: ',
  );
  await host.ok('blockjob', 'test', 'xvda', '--abort');
  expect(await host.ok('domblklist', 'test')).toContain(file('test.qcow2'));
  await rm(path);
});

test('a copy is refused before anything is made', async () => {
  const refusedCopy = (...args: readonly string[]) => host.refused(...copy(...args));
  expect(await host.refused('blockcopy', 'test', 'xvda', file('copy.qcow2'))).toContain(
    `${NOT_VALID}: domain is not transient: `,
  );
  expect(await refusedCopy('--dest', file('test.xml'))).toContain(
    `unsupported configuration: external destination file for disk xvda already exists and is not a block device: ${file('test.xml')}`,
  );
  expect(await refusedCopy('--dest', file('none'), '--reuse-external')).toContain(
    `missing destination file for disk xvda: ${file('none')}: No such file or directory`,
  );
  expect(await refusedCopy('--dest', file('none'), '--blockdev')).toContain('missing destination file for disk xvda');
  expect(await refusedCopy('--dest', file('test.xml'), '--blockdev', '--reuse-external')).toContain(
    `invalid argument: blockdev flag requested for disk xvda, but file '${file('test.xml')}' is not a block device`,
  );
  expect(await refusedCopy('--dest', file('copy.qcow2'), '--granularity', '3')).toContain(
    'granularity must be power of 2',
  );
  expect(await refusedCopy('--dest', file('test.qcow2'), '--reuse-external')).toContain(
    `${NOT_VALID}: destination '${file('test.qcow2')}' of disk 'xvda' is used by domain 'test' (disk 'xvda')`,
  );
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', file('small.qcow2'), '1M']);
  expect(await refusedCopy('--dest', file('small.qcow2'), '--reuse-external')).toContain(
    'it is a disk of 1048576 bytes, not of 67108864',
  );
  await overlay('b1');
  expect(await refusedCopy('--dest', file('copy.raw'), '--shallow', '--format', 'raw')).toContain(
    "shallow copy of disk 'xvda' into a raw file is not possible",
  );
  expect(await refusedCopy('--dest', file('small.qcow2'), '--shallow', '--reuse-external')).toContain(
    'it is a disk of',
  );
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', file('other.qcow2'), '64M']);
  expect(await refusedCopy('--dest', file('other.qcow2'), '--shallow', '--reuse-external')).toContain(
    `its backing image is '', not '${file('test.qcow2')}'`,
  );
  for (const left of ['copy.qcow2', 'copy.raw']) expect(await isThere(file(left))).toBe(false);
  await host.ok('blockjob', 'test', 'xvda', '--info');
});
