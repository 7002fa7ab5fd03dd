import { describe, expect, test } from '@jest/globals';
import { diskIndex, domainDisks } from '../../../../src/xml/domain/disks.ts';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { virshSession } from '../../../support/xml/virsh-document.ts';

const domain = (disks: string): string =>
  `<domain type='test'><name>d</name><memory>1024</memory><os><type>hvm</type></os><devices>${disks}</devices></domain>`;
const disks = (text: string) => domainDisks(parseDomain(domain(text)));
const targets = (text: string) => disks(text).map(({ target }) => target);

describe('order', () => {
  test.each([
    ['one bus by index', 'vdb vda vdd vdc', 'vda vdb vdc vdd'],
    ['a bus stays together where it began', 'vda vdb hdc vdd', 'vda vdb vdd hdc'],
    ['a new bus goes to the end', 'sda hda sdb', 'sda sdb hda'],
    ['letters count as numbers', 'vdaa vdz vdb', 'vdb vdz vdaa'],
    ['equal indices stay in their order', 'xvda1 xvda xvdb', 'xvda1 xvda xvdb'],
    ['Xen', 'xvdb xvda hdc xvdaa', 'xvda xvdb xvdaa hdc'],
  ])('%s: %s', (_, given, expected) => {
    const text = given
      .split(' ')
      .map((target) => `<disk><target dev='${target}'/></disk>`)
      .join('');
    expect(targets(text)).toEqual(expected.split(' '));
  });

  test('is the one in which libvirt itself puts the disks of a definition with buses', () => {
    const given = [
      ['sdb', 'scsi'],
      ['vdc', 'virtio'],
      ['hdb', 'ide'],
      ['vda', 'virtio'],
      ['sda', 'scsi'],
      ['hda', 'ide'],
      ['vdaa', 'virtio'],
      ['sdc', 'usb'],
    ].map(
      ([target, bus]) =>
        `<disk device='disk'><source file='/x/${target}'/><target dev='${target}' bus='${bus}'/></disk>`,
    );
    const definition = domain(given.join(''));
    const libvirts = virshSession(definition, 'dumpxml --inactive d').matchAll(/<target dev='(\w+)' bus=/g);
    expect(targets(given.join(''))).toEqual([...libvirts].map(([, target]) => target));
  });

  test.each([
    ['vda', 0],
    ['vdz', 25],
    ['vdaa', 26],
    ['vdba', 52],
    ['xvdb3', 1],
    ['hd', -1],
    ['nvme0n1', -1],
    ['sdA', -1],
    ['', -1],
  ])('index of %j is %d', (target, index) => {
    expect(diskIndex(target)).toBe(index);
  });
});

describe('a disk', () => {
  test('as the xen driver prints one', () => {
    expect(
      disks(`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/img/a.qcow2'/>
        <target dev='xvda' bus='xen'/></disk>`),
    ).toEqual([
      {
        target: 'xvda',
        bus: 'xen',
        device: 'disk',
        type: 'file',
        path: '/img/a.qcow2',
        hasSource: true,
        format: 'qcow2',
        driver: 'qemu',
        readonly: false,
        shareable: false,
        snapshot: 'default',
      },
    ]);
  });

  test('defaults: a file, a disk, no format, the bus of its prefix', () => {
    expect(disks("<disk><target dev='sda'/></disk>")).toEqual([
      {
        target: 'sda',
        bus: 'scsi',
        device: 'disk',
        type: 'file',
        hasSource: false,
        readonly: false,
        shareable: false,
        snapshot: 'default',
      },
    ]);
  });

  test.each([
    ["<disk device='cdrom'><target dev='hdc'/></disk>", { readonly: true, snapshot: 'no', hasSource: false }],
    ["<disk device='cdrom' snapshot='internal'><target dev='hdc'/></disk>", { snapshot: 'internal' }],
    ["<disk><target dev='vda'/><readonly/></disk>", { readonly: true, snapshot: 'no' }],
    [
      "<disk snapshot='external'><target dev='vda'/><readonly/><shareable/></disk>",
      { snapshot: 'external', shareable: true },
    ],
    [
      "<disk type='vhostuser'><source type='unix' path='/s'/><target dev='vda'/></disk>",
      { snapshot: 'no', hasSource: true },
    ],
    ["<disk type='block'><source dev='/dev/x'/><target dev='xvdb'/></disk>", { path: '/dev/x', hasSource: true }],
    ["<disk type='network'><source protocol='nbd'/><target dev='xvdb'/></disk>", { hasSource: true, type: 'network' }],
    ["<disk type='volume'><source pool='p' volume='v'/><target dev='xvdb'/></disk>", { hasSource: true }],
    ["<disk type='file'><source file=''/><target dev='xvdb'/></disk>", { hasSource: false }],
    ["<disk device='floppy'><target dev='vda'/></disk>", { bus: 'fdc' }],
  ])('%s', (text, expected) => {
    expect(disks(text)).toEqual([expect.objectContaining(expected)]);
  });

  test('an unlisted path is absent, not empty', () => {
    expect(
      Object.keys(disks("<disk type='network'><source name='x'/><target dev='xvdb'/></disk>")[0] ?? {}),
    ).not.toContain('path');
  });

  test('a domain without devices has none', () => {
    expect(domainDisks(parseDomain("<domain type='xen'><name>d</name></domain>"))).toEqual([]);
  });
});
