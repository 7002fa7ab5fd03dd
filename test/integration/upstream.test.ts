/**
 * xlsnapd before a real libvirtd whose test driver owns the domains: the same daemon as on Xen, with snapshots of active
 * domains through libvirt (its domains have no libxl).
 */

import { execFile } from 'node:child_process';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { contentsOf } from '../support/folder.ts';
import { virsh } from '../support/virsh.ts';

const UUID = '11111111-2222-3333-4444-777777777777';

let libvirtd: Libvirtd;
let daemon: Xlsnapd;
let home: string;

const start = () => Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });

/** Makes a domain known to libvirtd. */
const define = async (name: string, uuid: string, devices = '') => {
  const xml = join(home, `${name}.xml`);
  await writeFile(
    xml,
    `<domain type='test'><name>${name}</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>hvm</type></os>
     <devices>${devices}</devices></domain>`,
  );
  await daemon.ok('define', xml);
};

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  home = await folderForLibvirtd();
  const image = join(home, 'one.qcow2');
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', image, '8M']);
  daemon = await start();
  await define(
    'one',
    UUID,
    `<disk type='file' device='disk'>
       <driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda' bus='virtio'/>
     </disk>`,
  );
  await daemon.ok('start', 'one');
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

test('what is not about snapshots is answered as by libvirtd itself', async () => {
  const direct = `test+unix:///default?socket=${libvirtd.socket}`;
  for (const command of [['list', '--all'], ['dumpxml', 'test'], ['domblklist', 'one'], ['nodeinfo'], ['net-list']]) {
    expect(await daemon.virsh(...command)).toEqual(await virsh(direct, ...command));
  }
});

test('a running domain is snapshot, reverted to, and its snapshot deleted', async () => {
  expect(await daemon.ok('snapshot-create-as', 'one', 's1')).toBe('Domain snapshot s1 created');
  expect(await daemon.ok('domstate', 'one')).toBe('running');
  expect(await daemon.ok('snapshot-info', 'one', 's1')).toContain('State:          running');
  expect(await readdir(join(home, 'memory', UUID))).toEqual(['s1.save']);
  expect(await daemon.ok('snapshot-revert', 'one', 's1')).toBe('Domain snapshot s1 reverted');
  expect(await daemon.ok('domstate', 'one', '--reason')).toBe('running (from snapshot)');
  expect(await daemon.ok('snapshot-delete', 'one', 's1')).toBe('Domain snapshot s1 deleted');
  expect(await contentsOf(join(home, 'memory'))).toEqual([]);
  expect(await daemon.ok('snapshot-list', 'one', '--name')).toBe('');
});

test('an active domain that is undefined keeps its snapshots until it ends', async () => {
  const metadata = join(home, 'snapshot/lives');
  await define('lives', '11111111-2222-3333-4444-555555555555');
  await daemon.ok('start', 'lives');
  await daemon.ok('snapshot-create-as', 'lives', 's1');
  await daemon.ok('undefine', 'lives');
  expect(await daemon.ok('snapshot-list', 'lives', '--name')).toBe('s1');
  expect(await readdir(metadata)).toEqual(['s1.xml']);
  await daemon.ok('destroy', 'lives');
  for (const end = Date.now() + 10_000; (await readdir(metadata).catch(() => [])).length > 0; ) {
    if (Date.now() > end) throw new Error('the metadata of a domain that has gone is still there');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test('snapshots are there again after a restart of xlsnapd', async () => {
  await daemon.ok('snapshot-create-as', 'one', 'kept');
  await daemon.stop();
  daemon = await start();
  expect(await daemon.ok('snapshot-list', 'one', '--name')).toBe('kept');
  await daemon.ok('snapshot-revert', 'one', 'kept');
  await daemon.ok('snapshot-delete', 'one', 'kept');
});

test('unknown domains and snapshots get libvirt’s words', async () => {
  expect(await daemon.refused('snapshot-list', 'nodom')).toBe("failed to get domain 'nodom'");
  expect(await daemon.refused('snapshot-dumpxml', 'one', 'nope')).toBe(
    "Domain snapshot not found: no domain snapshot with matching name 'nope'",
  );
});
