import { describe, expect, test } from '@jest/globals';
import type { DiskImage } from '../../../../src/model/disk-image.ts';
import { element, textAt } from '../../../../src/model/element.ts';
import { diskImages, parseDefinition, renamed, withDiskImages } from '../../../../src/xml/domain/definition.ts';
import { writeElement } from '../../../../src/xml/engine/write.ts';

const domain = (disks: string): ReturnType<typeof parseDefinition> =>
  parseDefinition(`<domain type='xen'><name>vm</name><devices><emulator>/x</emulator>${disks}</devices></domain>`);

const XVDA = `<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='none'/>
  <source file='/d/a.qcow2'/>
  <backingStore type='file'><format type='raw'/><source file='/d/base.raw'/></backingStore>
  <target dev='xvda' bus='xen'/>
</disk>`;
const XVDB = `<disk type='block' device='disk'>
  <driver name='phy'/>
  <source dev='/dev/vg/b'/>
  <target dev='xvdb' bus='xen'/>
</disk>`;
const CDROM = `<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>`;

describe('the images of a definition', () => {
  test('are files and block devices by target, raw where no format is given, and no empty drive', () => {
    expect([...domain(XVDA + XVDB + CDROM).images]).toEqual([
      ['xvda', { path: '/d/a.qcow2', format: 'qcow2' }],
      ['xvdb', { path: '/dev/vg/b', format: 'raw', block: true }],
    ]);
  });

  test('are replaced for the disks named, and for no other', () => {
    const changed = withDiskImages(domain(XVDA + XVDB), new Map([['xvda', { path: '/d/a.s1', format: 'qcow2' }]]));
    expect([...changed.images]).toEqual([
      ['xvda', { path: '/d/a.s1', format: 'qcow2' }],
      ['xvdb', { path: '/dev/vg/b', format: 'raw', block: true }],
    ]);
  });

  test('are of the kind that is said, whatever their path looks like', () => {
    const kinds = (image: DiskImage) => {
      const [disk] = withDiskImages(domain(XVDA), new Map([['xvda', image]])).disks;
      return [disk?.type, disk?.path];
    };
    expect(kinds({ path: '/dev/shm/o', format: 'qcow2' })).toEqual(['file', '/dev/shm/o']);
    expect(kinds({ path: '/srv/volume', format: 'raw', block: true })).toEqual(['block', '/srv/volume']);
  });

  test('keep the labels and the policy of the disk', () => {
    const source =
      "<source file='/d/a.qcow2' startupPolicy='optional' index='1'><seclabel model='dac' relabel='no'/></source>";
    const labelled = XVDA.replace(/<source [^>]*>/, source);
    const changed = withDiskImages(domain(labelled), new Map([['xvda', { path: '/d/a.s1', format: 'qcow2' }]]));
    expect(writeElement(changed.element)).toMatch(
      /<source file='\/d\/a.s1' startupPolicy='optional'>\s*<seclabel model='dac' relabel='no'\/>\s*<\/source>/,
    );
  });

  test('once replaced keep the driver’s options and say nothing of the old chain', () => {
    const changed = writeElement(
      withDiskImages(domain(XVDA), new Map([['xvda', { path: '/d/a.s1', format: 'qcow2' }]])).element,
    );
    expect(changed).toContain("<driver name='qemu' type='qcow2' cache='none'/>");
    expect(changed).toContain("<source file='/d/a.s1'/>");
    expect(changed).not.toContain('backingStore');
  });

  test('that are files are served by QEMU, whatever served the disk before', () => {
    const changed = writeElement(
      withDiskImages(domain(XVDB), new Map([['xvdb', { path: '/d/b.s1', format: 'qcow2' }]])).element,
    );
    expect(changed).toContain("<disk type='file' device='disk'>");
    expect(changed).toContain("<driver name='qemu' type='qcow2'/>");
  });

  test('that are the same already leave the definition untouched', () => {
    const before = domain(XVDA + XVDB);
    const same = new Map([['xvdb', { path: '/dev/vg/b', format: 'raw' }]]);
    expect(writeElement(withDiskImages(before, same).element)).toBe(writeElement(before.element));
  });
});

test('without a driver a disk is raw, whatever format is named: so libvirt hands it to libxl', () => {
  const domain = parseDefinition(`<domain><devices><disk type='file'><driver type='qcow2'/><source file='/d/a'/>
    <target dev='xvda' bus='xen'/></disk></devices></domain>`);
  expect([...domain.images]).toEqual([['xvda', { path: '/d/a', format: 'raw' }]]);
});

test('the images of one kind of device leave out those of the others', () => {
  const { disks } = domain(
    `${XVDA}<disk type='file' device='cdrom'><source file='/d/cd.iso'/><target dev='hdc'/></disk>`,
  );
  expect([...diskImages(disks).keys()]).toEqual(['xvda', 'hdc']);
  expect([...diskImages(disks, 'disk').keys()]).toEqual(['xvda']);
});

test('a definition keeps everything but its name under another one', () => {
  const given = parseDefinition("<domain type='xen'><name>d</name><os><name>n</name></os></domain>");
  const { element: changed, disks, images } = renamed(given, 'e & f');
  expect(changed).toEqual(
    element('domain', { type: 'xen' }, [
      element('name', {}, ['e & f']),
      element('os', {}, [element('name', {}, ['n'])]),
    ]),
  );
  expect({ disks, images }).toEqual({ disks: given.disks, images: given.images });
  expect(textAt(given.element, 'name')).toBe('d');
});
