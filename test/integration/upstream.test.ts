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

test.each([
  ['domain', 'its memory'],
  ['inactiveDomain', 'its persistent definition'],
])(
  'a redefined document whose <%s> libvirtd does not accept is refused before the guest ends for %s',
  async (element) => {
    await daemon.ok('snapshot-create-as', 'one', 'edited');
    const running = await daemon.ok('domid', 'one');
    const document = await daemon.ok('snapshot-dumpxml', 'one', 'edited');
    const [before = '', after = ''] = document.split(`<${element} `);
    const edited = join(home, 'edited.xml');
    await writeFile(edited, `${before}<${element} ${after.replace('<on_reboot>restart<', '<on_reboot>nonsense<')}`);
    await daemon.ok('snapshot-create', 'one', edited, '--redefine');
    expect(await daemon.refused('snapshot-revert', 'one', 'edited')).toContain(
      "libvirtd does not accept the snapshot's definition: unknown on_reboot action: nonsense",
    );
    expect(await daemon.ok('domid', 'one')).toBe(running);
    expect(await daemon.ok('list', '--all', '--name')).not.toContain('xlsnap-asks');
    await writeFile(edited, document);
    await daemon.ok('snapshot-create', 'one', edited, '--redefine');
    await daemon.ok('snapshot-revert', 'one', 'edited');
    await daemon.ok('snapshot-delete', 'one', 'edited');
  },
);

test('an image below a volume of a storage pool is shared; a volume that cannot be looked up may be above any image', async () => {
  const base = join(home, 'below.qcow2');
  const volume = join(home, 'volume.qcow2');
  const make = promisify(execFile);
  await make('qemu-img', ['create', '-q', '-f', 'qcow2', base, '8M']);
  const disk = (type: string, source: string) =>
    `<disk type='${type}' device='disk'><driver name='qemu' type='qcow2'/><source ${source}/><target dev='vda' bus='virtio'/></disk>`;
  await define('below', '11111111-2222-3333-4444-888888888888', disk('file', `file='${base}'`));
  await daemon.ok('snapshot-create-as', 'below', 'e1', '--disk-only');
  await make('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', volume]);
  await daemon.ok('pool-define-as', "it's", 'dir', '--target', home);
  await daemon.ok('pool-start', "it's");
  await daemon.ok('vol-create-as', "it's", 'volume.qcow2', '8M', '--format', 'qcow2');
  await define(
    'on-volume',
    '11111111-2222-3333-4444-999999999999',
    disk('volume', `pool="it's" volume='volume.qcow2'`),
  );
  expect(await daemon.refused('snapshot-delete', 'below', 'e1')).toContain(
    `image '${base}' of domain 'below' is also used by domain 'on-volume' (disk 'vda'), and merging`,
  );
  await daemon.ok('pool-destroy', "it's");
  expect(await daemon.refused('snapshot-delete', 'below', 'e1')).toMatch(
    /domain 'on-volume' \(disk 'vda'\) may use the same images: volume 'volume.qcow2' of storage pool 'it's' cannot be looked up \(.*not active\), which 'virsh pool-start 'it'\\''s''/,
  );
  await daemon.ok('undefine', 'on-volume');
  await daemon.ok('snapshot-delete', 'below', 'e1');
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
