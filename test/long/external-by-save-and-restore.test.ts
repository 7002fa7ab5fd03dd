/**
 * External snapshots of domains of a real libvirtd without libxl (its test driver): saved and restored through libvirt,
 * overlays made while the domain is away. Nobody has the images open, so that the test can play the guest's disk.
 */

import { execFile } from 'node:child_process';
import { access, chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { backingChain, imageReads } from '../support/disks/embedded-disk.ts';
import { contentsOf } from '../support/folder.ts';

const run = promisify(execFile);
const UUID = '11111111-2222-3333-4444-777777777777';

let libvirtd: Libvirtd;
let daemon: Xlsnapd;
let home: string;

const file = (name: string) => join(home, 'images', name);
const images = async () => (await readdir(join(home, 'images'))).sort();
const start = () => Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
const blocks = async (domain: string, ...flags: readonly string[]) =>
  (await daemon.ok('domblklist', domain, ...flags)).split('\n').slice(2).join('').trim().split(/\s+/)[1];
const create = (...args: readonly string[]) => daemon.ok('snapshot-create-as', 'one', ...args);
const guestWrites = async (pattern: number) => {
  const tip = (await blocks('one')) ?? '';
  await run('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} 0 64k`, '-c', 'flush', tip]);
};
const guestReads = async (pattern: number) => imageReads((await blocks('one')) ?? '', pattern);

beforeEach(async () => {
  libvirtd = await startLibvirtd();
  home = await folderForLibvirtd();
  await mkdir(join(home, 'images'));
  await chmod(join(home, 'images'), 0o777);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', file('one.qcow2'), '8M']);
  daemon = await start();
  const xml = join(home, 'one.xml');
  await writeFile(
    xml,
    `<domain type='test'><name>one</name><uuid>${UUID}</uuid><memory>4096</memory><os><type>hvm</type></os>
     <devices><disk type='file' device='disk'>
       <driver name='qemu' type='qcow2'/><source file='${file('one.qcow2')}'/><target dev='vda' bus='virtio'/>
     </disk></devices></domain>`,
  );
  await daemon.ok('define', xml);
  await daemon.ok('start', 'one');
  await guestWrites(1);
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

describe('a running domain', () => {
  test('is not saved if a file is gone that it needs to come back', async () => {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', file('two.qcow2'), '8M']);
    const xml = (await daemon.ok('dumpxml', 'one', '--inactive')).replace(
      '</disk>',
      `</disk><disk type='file' device='cdrom'><driver name='qemu' type='qcow2'/><source file='${file('two.qcow2')}'/><target dev='hdc' bus='ide'/></disk>`,
    );
    await writeFile(join(home, 'two.xml'), xml);
    await daemon.ok('destroy', 'one');
    await daemon.ok('define', join(home, 'two.xml'));
    await daemon.ok('start', 'one');
    await rm(file('two.qcow2'));
    const id = await daemon.ok('domid', 'one');
    for (const kind of [[], ['--disk-only']]) {
      expect(await daemon.refused('snapshot-create-as', 'one', 's1', ...kind)).toContain(
        `Requested operation is not valid: cannot open '${file('two.qcow2')}' (disk 'hdc')`,
      );
    }
    expect(await daemon.ok('domid', 'one')).toBe(id);
    expect(await images()).toEqual(['one.qcow2']);
  });

  test.each([
    ['disks alone', ['--disk-only'], 'disk-snapshot'],
    ['RAM in a file, disks in overlays', ['--memspec', 'RAM'], 'running'],
  ])(
    'is snapshot (%s), reverted to and its snapshot deleted; both its definitions follow',
    async (_, options, state) => {
      await create('s1', ...options.map((option) => (option === 'RAM' ? file('ram') : option)));
      expect(await daemon.ok('snapshot-info', 'one', 's1')).toMatch(
        new RegExp(`State: +${state}\nLocation: +external`),
      );
      expect([await blocks('one'), await blocks('one', '--inactive')]).toEqual([file('one.s1'), file('one.s1')]);
      expect(await daemon.ok('domstate', 'one')).toBe('running');
      await guestWrites(2);

      await daemon.ok('snapshot-revert', 'one', 's1', '--running');
      const tip = (await blocks('one')) ?? '';
      expect(tip).toMatch(/one\.\d{10}$/);
      expect(await blocks('one', '--inactive')).toBe(tip);
      expect(await backingChain(tip)).toEqual([tip, file('one.qcow2')]);
      expect(await guestReads(1)).toBe(true);
      expect(await images()).not.toContain('one.s1');

      await guestWrites(3);
      await daemon.ok('snapshot-delete', 'one', 's1');
      expect(await blocks('one')).toBe(file('one.qcow2'));
      expect(await blocks('one', '--inactive')).toBe(file('one.qcow2'));
      expect(await guestReads(3)).toBe(true);
      expect(await images()).toEqual(['one.qcow2']);
      expect(await daemon.ok('domstate', 'one')).toBe('running');
    },
  );

  test('leaves no scratch image behind', async () => {
    await create('s1', '--disk-only');
    await daemon.ok('snapshot-delete', 'one', 's1');
    expect(await contentsOf(join(home, 'memory'))).toEqual([]);
  });

  test('whose overlay cannot be made is not touched', async () => {
    const id = await daemon.ok('domid', 'one');
    expect(
      await daemon.refused('snapshot-create-as', 'one', 's1', '--disk-only', '--diskspec', `vda,file=${home}/no/where`),
    ).toContain(`${home}/no`);
    expect(await daemon.ok('domid', 'one')).toBe(id);
    expect(await blocks('one', '--inactive')).toBe(file('one.qcow2'));
  });

  test('has its layers merged one after the other when all its snapshots go', async () => {
    for (const name of ['s1', 's2', 's3']) {
      await create(name, '--disk-only');
      await guestWrites(Number(name.slice(1)) + 1);
    }
    await daemon.ok('snapshot-delete', 'one', 's2');
    expect(await backingChain(file('one.s3'))).toEqual([file('one.s3'), file('one.s1'), file('one.qcow2')]);
    await daemon.ok('snapshot-delete', 'one', 's1', '--children');
    expect(await images()).toEqual(['one.qcow2']);
    expect(await guestReads(4)).toBe(true);
  });
});

test('a transient domain comes back from a snapshot of its disks alone, booted', async () => {
  await daemon.ok('destroy', 'one');
  await daemon.ok('undefine', 'one');
  await daemon.ok('create', join(home, 'one.xml'));
  await create('s1', '--disk-only');
  await guestWrites(2);
  expect(await daemon.refused('snapshot-revert', 'one', 's1')).toContain(
    'transient domain needs to request run or pause',
  );
  await daemon.ok('snapshot-revert', 'one', 's1', '--running');
  expect(await daemon.ok('domstate', 'one')).toBe('running');
  expect(await guestReads(1)).toBe(true);
  await daemon.ok('snapshot-revert', 'one', 's1', '--paused');
  expect(await daemon.ok('domstate', 'one')).toBe('paused');
  await daemon.ok('resume', 'one');
  await daemon.ok('snapshot-delete', 'one', 's1');
  expect(await images()).toEqual(['one.qcow2']);
});

test('a domain that was renamed is reverted to its running snapshot under its new name', async () => {
  await create('s1');
  await daemon.ok('destroy', 'one');
  await daemon.ok('domrename', 'one', 'two');
  await daemon.ok('snapshot-revert', 'two', 's1');
  expect(await daemon.ok('list', '--name')).toContain('two');
  expect(await daemon.ok('list', '--all', '--name')).not.toContain('one');
  expect(await daemon.ok('domstate', 'two')).toBe('running');
  // The image is as it was: it can be reverted to again.
  await daemon.ok('snapshot-revert', 'two', 's1');
  await daemon.ok('snapshot-delete', 'two', 's1');
  await expect(access(join(home, 'memory', UUID))).rejects.toThrow();
});
