/** A memory image is data of its owner, who may have edited it: nothing but its RAM gets into the guest. */

import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readMemoryImage } from '../../src/memory/image-file.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { guestReads, guestWrites } from '../support/disks/embedded-disk.ts';

const HEADER_BYTES = 64;
const XML_LENGTH_AT = 20;

let host: Xlsnapd;
const memory = () => join(host.home, 's1.save');

beforeAll(async () => {
  host = await Xlsnapd.start();
});

afterAll(() => host[Symbol.asyncDispose]());

beforeEach(async () => {
  await rm(memory(), { force: true });
  for (const name of (await host.ok('snapshot-list', 'test', '--name')).split('\n').filter(Boolean)) {
    await host.ok('snapshot-delete', 'test', name, '--metadata');
  }
  await host.ok('snapshot-create-as', 'test', 's1', '--memspec', `file=${memory()}`, '--diskspec', 'xvda,snapshot=no');
});

/** Edits the definition in the image, as an owner of its folder can. */
async function edit(change: (xml: string) => string): Promise<void> {
  const { domainXml, streamOffset } = await readMemoryImage(memory());
  const xml = Buffer.alloc(streamOffset - HEADER_BYTES);
  xml.write(change(domainXml));
  await using file = await open(memory(), 'r+');
  await file.write(xml, 0, xml.length, HEADER_BYTES);
}

async function setXmlLength(length: (now: number) => number): Promise<void> {
  const image = await readFile(memory());
  image.writeUInt32LE(length(image.readUInt32LE(XML_LENGTH_AT)), XML_LENGTH_AT);
  await writeFile(memory(), image);
}

const device = (xml: string) => (definition: string) => definition.replace('<devices>', `<devices>${xml}`);

describe('S8: what a guest would notice is refused in libvirt’s words, and the guest runs on', () => {
  const DISK = `<disk type='file' device='disk'><source file='/etc/shadow'/><target dev='xvdb' bus='xen'/></disk>`;
  const PCI = `<hostdev mode='subsystem' type='pci' managed='yes'><source><address bus='1'/></source></hostdev>`;
  test.each([
    [
      'a host device',
      device(PCI),
      'unsupported configuration: Target domain host device count 0 does not match source 1',
    ],
    ['a second disk', device(DISK), 'unsupported configuration: Target domain disk count 1 does not match source 2'],
    [
      'a network card with a script',
      device(`<interface type='ethernet'><mac address='00:16:3e:00:00:01'/><script path='/home/bob/run'/></interface>`),
      'unsupported configuration: Target domain net card count 0 does not match source 1',
    ],
    [
      'another machine',
      (xml: string) => xml.replace('>hvm<', '>xen<'),
      'unsupported configuration: Target domain OS type hvm does not match source xen',
    ],
    [
      'the UUID of another domain',
      (xml: string) => xml.replace('6695eb01', '7795eb01'),
      "operation failed: cannot restore domain 'test' uuid 6695eb01-f6a4-8304-79aa-97f2502e193f from a file which belongs to",
    ],
    ['a second document', (xml: string) => `${xml}<domain/>`, '(domain_definition):'],
    ['no document', () => '', '(domain_definition):'],
  ])('%s', async (_what, change, text) => {
    const id = await host.ok('domid', 'test');
    await edit(change);
    expect(await host.refused('snapshot-revert', 'test', 's1')).toContain(text);
    expect(await host.ok('domid', 'test')).toBe(id);
    expect(await host.ok('domstate', 'test')).toBe('running');
  });

  test.each([
    ['longer than the XML, so that the stream begins later', (now: number) => now + 4096],
    ['shorter, so that it begins in the XML', (now: number) => now - 4096],
    ['zero', () => 0],
    ['beyond the file', () => 0x7fff_ffff],
  ])('a length of the XML that is %s', async (_what, length) => {
    const id = await host.ok('domid', 'test');
    await setXmlLength(length);
    expect(await host.refused('snapshot-revert', 'test', 's1')).toContain(memory());
    expect(await host.ok('domid', 'test')).toBe(id);
  });
});

describe('S8: what a guest does not notice is the snapshot’s, whatever the image says', () => {
  test.each([
    ['an emulator', device('<emulator>/home/bob/run-me-as-root</emulator>')],
    ['a kernel', (xml: string) => xml.replace('</os>', '<kernel>/home/bob/kernel</kernel></os>')],
    ['a boot loader', (xml: string) => xml.replace('<os>', '<bootloader>/home/bob/boot</bootloader><os>')],
    [
      'arguments of the device model',
      (xml: string) =>
        xml
          .replace(/^<domain /, `<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' `)
          .replace('</domain>', `<qemu:commandline><qemu:arg value='/home/bob'/></qemu:commandline></domain>`),
    ],
    ['another image', (xml: string) => xml.replace(/source file='[^']*'/, `source file='/home/bob/disk'`)],
    ['a document behind the end of the first', (xml: string) => `${xml}\0<domain><name>bob</name></domain>`],
  ])('%s', async (_what, change) => {
    const before = await host.ok('dumpxml', 'test', '--inactive', '--security-info');
    await edit(change);
    await host.ok('snapshot-revert', 'test', 's1');
    expect(await host.ok('dumpxml', 'test')).not.toContain('bob');
    expect(await host.ok('dumpxml', 'test', '--inactive', '--security-info')).toBe(before);
  });
});

test('case B: the image of a guest on an overlay names the overlay, also for an internal snapshot', async () => {
  await host.ok('snapshot-create-as', 'test', 'e1', '--disk-only');
  const overlay = join(host.home, 'state/test.e1');
  await guestWrites(host, 0x11);
  await host.ok('snapshot-create-as', 'test', 'i1');
  const internal = join(host.home, 'memory/6695eb01-f6a4-8304-79aa-97f2502e193f/i1.save');
  const external = join(host.home, 'x1.save');
  await host.ok('snapshot-create-as', 'test', 'x1', '--memspec', `file=${external}`);
  for (const file of [internal, external]) {
    expect((await readMemoryImage(file)).domainXml).toContain(`<source file='${overlay}'/>`);
  }
  expect(await guestReads(host, 0x11)).toBe(true);
});
