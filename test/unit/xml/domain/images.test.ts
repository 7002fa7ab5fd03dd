import { describe, expect, test } from '@jest/globals';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { diskImages, withDiskImages } from '../../../../src/xml/domain/images.ts';
import { writeElement } from '../../../../src/xml/engine/write.ts';

const domain = (disks: string): ReturnType<typeof parseDomain> =>
  parseDomain(`<domain type='xen'><name>vm</name><devices><emulator>/x</emulator>${disks}</devices></domain>`);

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
    expect([...diskImages(domain(XVDA + XVDB + CDROM))]).toEqual([
      ['xvda', { path: '/d/a.qcow2', format: 'qcow2' }],
      ['xvdb', { path: '/dev/vg/b', format: 'raw' }],
    ]);
  });

  test('are replaced for the disks named, and for no other', () => {
    const changed = withDiskImages(domain(XVDA + XVDB), new Map([['xvda', { path: '/d/a.s1', format: 'qcow2' }]]));
    expect([...diskImages(changed)]).toEqual([
      ['xvda', { path: '/d/a.s1', format: 'qcow2' }],
      ['xvdb', { path: '/dev/vg/b', format: 'raw' }],
    ]);
  });

  test('once replaced keep the driver’s options and say nothing of the old chain', () => {
    const changed = writeElement(
      withDiskImages(domain(XVDA), new Map([['xvda', { path: '/d/a.s1', format: 'qcow2' }]])),
    );
    expect(changed).toContain("<driver name='qemu' type='qcow2' cache='none'/>");
    expect(changed).toContain("<source file='/d/a.s1'/>");
    expect(changed).not.toContain('backingStore');
  });

  test('that are files are served by QEMU, whatever served the disk before', () => {
    const changed = writeElement(
      withDiskImages(domain(XVDB), new Map([['xvdb', { path: '/d/b.s1', format: 'qcow2' }]])),
    );
    expect(changed).toContain("<disk type='file' device='disk'>");
    expect(changed).toContain("<driver name='qemu' type='qcow2'/>");
  });

  test('that are the same already leave the definition untouched', () => {
    const before = domain(XVDA + XVDB);
    const same = new Map([['xvdb', { path: '/dev/vg/b', format: 'raw' }]]);
    expect(writeElement(withDiskImages(before, same))).toBe(writeElement(before));
  });
});

test('without a driver a disk is raw, whatever format is named: so libvirt hands it to libxl', () => {
  const domain = parseDomain(`<domain><devices><disk type='file'><driver type='qcow2'/><source file='/d/a'/>
    <target dev='xvda' bus='xen'/></disk></devices></domain>`);
  expect([...diskImages(domain)]).toEqual([['xvda', { path: '/d/a', format: 'raw' }]]);
});
