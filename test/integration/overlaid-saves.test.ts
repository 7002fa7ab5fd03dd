/** A running domain on overlays that its libvirtd does not know is saved and restored by virsh: on the overlays, never on the bases. */

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { virsh } from '../support/virsh.ts';

const UUID = '11111111-2222-3333-4444-777777777777';

let libvirtd: Libvirtd;
let xlsnapd: Xlsnapd;
const at = (name: string): string => join(libvirtd.directory, 'home', name);

/** Without xlsnapd. */
async function direct(...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await virsh(`test+unix:///default?socket=${libvirtd.socket}`, ...words);
  if (status !== 0) throw new Error(`virsh ${words.join(' ')}: ${stderr}`);
  return stdout.trim();
}

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  await writeFile(
    at('d.xml'),
    `<domain type='test'><name>d</name><uuid>${UUID}</uuid><memory>4096</memory><os><type>hvm</type></os>
     <on_reboot>restart</on_reboot><devices><disk type='file' device='disk'><driver name='qemu' type='raw'/>
     <source file='/d/a'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
  );
  await direct('define', at('d.xml'));
  await direct('start', 'd');
  // As after an external snapshot by libxl: the record of a daemon that has taken it.
  const live = { vda: { path: '/d/a.b1', format: 'qcow2', shown: { path: '/d/a', bus: 'virtio' } } };
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  await mkdir(at('xlsnapd/state/live-disks'), { recursive: true });
  await writeFile(
    at(`xlsnapd/state/live-disks/${UUID}.json`),
    JSON.stringify({ version: 1, boot, id: Number(await direct('domid', 'd')), disks: live }),
  );
  xlsnapd = await Xlsnapd.start({ home: at('xlsnapd'), args: ['--upstream', libvirtd.socket] });
});

afterAll(async () => {
  await xlsnapd[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
});

test('until then it is neither undefined nor saved among xlsnapd’s own files', async () => {
  expect(await direct('domblklist', 'd')).toMatch(/\/d\/a$/m);
  expect(await xlsnapd.ok('domblklist', 'd')).toContain('/d/a.b1');
  const refused = await xlsnapd.refused('undefine', 'd');
  expect(refused).toContain('at its next start by <on_reboot> libvirtd would take the images below them');
  expect(refused).toContain('virsh blockcommit d vda --active --pivot --base /d/a');
  expect(await xlsnapd.refused('save', 'd', at('xlsnapd/memory/x'))).toContain("among xlsnapd's own files");
  expect(await xlsnapd.refused('save', 'd', at('x'), '--paused')).toMatch(/unsupported flags|not supported/i);
  expect(await xlsnapd.ok('domstate', 'd')).toBe('running');
});

test('virsh save and restore keep it on its overlay, and then its libvirtd knows that', async () => {
  await xlsnapd.ok('save', 'd', at('saved'));
  const image = await xlsnapd.ok('save-image-dumpxml', at('saved'));
  expect(image).toMatch(/<driver name='qemu' type='qcow2'\/>\s*<source file='\/d\/a.b1'\/>/);
  expect(image).not.toContain('metadata');
  expect((await readdir(at(''))).filter((name) => name.startsWith('saved'))).toEqual(['saved']);
  expect(await readdir(at('xlsnapd/state/saves'))).toEqual([]);
  await xlsnapd.ok('restore', at('saved'));
  expect(await direct('domblklist', 'd')).toContain('/d/a.b1');
  await xlsnapd.ok('managedsave', 'd');
  await xlsnapd.ok('start', 'd');
  await xlsnapd.ok('undefine', 'd');
});
