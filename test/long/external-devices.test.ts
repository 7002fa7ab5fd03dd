/** Images on block devices: a device is the file that it shows, and has no more room than it has. */

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, expect, test } from '@jest/globals';
import { create, defineOther, diskOnly, file, host, source } from '../support/daemons/external-host.ts';
import { guestReads, guestWrites, imageReads } from '../support/disks/embedded-disk.ts';

const run = promisify(execFile);

let devices: string[] = [];

afterEach(async () => {
  for (const device of devices) await run('losetup', ['--detach', device]);
  devices = [];
});

/** A loop device, until the test has ended. */
async function loopOver(name: string): Promise<string> {
  const device = (await run('losetup', ['--find', '--show', file(name)])).stdout.trim();
  devices.push(device);
  return device;
}

/** Gives a domain that is off this device as its disk, in place of the image. */
async function moveToDevice(domain: string, image: string, device: string): Promise<void> {
  const xml = await host.ok('dumpxml', domain, '--inactive');
  const path = file(`${domain}.xml`);
  await writeFile(path, xml.replace(`file='${file(image)}'`, `dev='${device}'`).replace("type='file'", "type='block'"));
  await host.ok('define', path);
}

test('the image of another domain is not changed, which has a loop device over it as its disk', async () => {
  await guestWrites(host, 1);
  await create('s0');
  await diskOnly('s1');
  await guestWrites(host, 2);
  await defineOther('test.qcow2');
  await moveToDevice('other', 'test.qcow2', await loopOver('test.qcow2'));
  const used = /is also used by domain 'other' \(disk 'xvda'\)/;
  expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(used);
  expect(await guestReads(host, 2)).toBe(true);
  await host.ok('destroy', 'test');
  expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(used);
  expect(await imageReads(file('test.qcow2'), 1)).toBe(true);
  await host.ok('undefine', 'other');
  await host.ok('snapshot-delete', 'test', 's1');
  expect(await imageReads(file('test.qcow2'), 2)).toBe(true);
});

test('an overlay that does not fit onto the device of its base is not merged, running or off, and the snapshot stays whole', async () => {
  await host.ok('destroy', 'test');
  await run('truncate', ['--size', '3M', file('small')]);
  const device = await loopOver('small');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', device, '64M']);
  await moveToDevice('test', 'test.qcow2', device);
  await host.ok('start', 'test');
  await guestWrites(host, 1);
  await diskOnly('s1', '--diskspec', `xvda,file=${file('test.s1')}`);
  const disk = `nbd+unix:///xvda?socket=${file(`${(await host.ok('domid', 'test')).trim()}.nbd`)}`;
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 2 0 4M', '-c', 'flush', disk]);
  const full =
    /no space to merge image '.*test\.s1' of disk 'xvda' into '\/dev\/loop\d+': it needs 4 MiB more, and the device has 3 MiB, of which 1 MiB are in use: enlarge it first/;
  expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(full);
  expect(await guestReads(host, 2, { at: 59 })).toBe(true);
  await host.ok('destroy', 'test');
  expect(await host.refused('snapshot-delete', 'test', 's1')).toMatch(full);
  await host.ok('snapshot-revert', 'test', 's1', '--running');
  expect(await guestReads(host, 1)).toBe(true);
  await host.ok('snapshot-delete', 'test', 's1');
  expect(await source()).toBe(device);
  await host.ok('destroy', 'test');
});
