/** What a start needs of the file system for devices that are not disks. */

import { describe, expect, test } from '@jest/globals';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';
import { startFiles } from '../../../../src/xml/domain/start-files.ts';

const domain = (type: string, os: string, devices: string, more = '') =>
  parseDefinition(
    `<domain type='${type}'><name>g</name>${more}<os><type>${os}</type></os><devices>${devices}</devices></domain>`,
  );
const files = (type: string, os: string, devices: string) =>
  startFiles(domain(type, os, devices), 'restore').map(({ role, path, access }) => `${role}: ${access} ${path}`);

describe.each([
  ['serial', 'xen', 'hvm', "serial '1'"],
  ['serial', 'kvm', 'hvm', "serial '1'"],
  ['parallel', 'kvm', 'hvm', "parallel '1'"],
])('a %s port of a %s guest', (name, type, os, role) => {
  test.each([
    ['dev', '', 'device'],
    ['file', '', 'create'],
    ['pipe', '', 'pipe'],
    ['unix', "mode='bind' ", 'bind'],
    ['unix', "mode='connect' ", 'connect'],
  ])('by %s %s', (kind, mode, access) => {
    const device = `<${name} type='${kind}'><source ${mode}path='/p'/><target port='1'/></${name}>`;
    expect(files(type, os, device)).toEqual([`${role}: ${access} /p`]);
  });

  test.each(['pty', 'null', 'stdio', 'vc'])('by %s needs nothing', (kind) => {
    expect(files(type, os, `<${name} type='${kind}'><source path='/dev/pts/3'/><target port='1'/></${name}>`)).toEqual(
      [],
    );
  });
});

test('a PV guest has no serial ports, and Xen has no parallel ones', () => {
  const ports = "<serial type='dev'><source path='/p'/></serial><parallel type='dev'><source path='/p'/></parallel>";
  expect(files('xen', 'linux', ports)).toEqual([]);
  expect(files('xen', 'hvm', ports)).toEqual(["serial '0': device /p"]);
});

test('the socket of a channel is made, unless libvirt does that', () => {
  const channel = (path: string) =>
    `<channel type='unix'><source mode='bind' path='${path}'/><target type='xen' name='org.x.0'/></channel>`;
  const devices = ['/s', '/var/lib/libvirt/libxl/g-org.x.0', '/run/libvirt/x', '/var/run/libvirt/x'].map(channel);
  expect(files('xen', 'linux', devices.join(''))).toEqual(["channel 'org.x.0': bind /s"]);
});

test('other devices of guests that are not Xen’s', () => {
  const devices =
    "<filesystem type='mount'><source dir='/f'/><target dir='tag'/></filesystem>" +
    "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>" +
    "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>" +
    "<input type='evdev'><source dev='/dev/input/event0'/></input>" +
    "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input>" +
    "<memory model='nvdimm'><source><path>/n</path></source></memory>" +
    "<graphics type='vnc'><listen type='socket' socket='/v'/></graphics>";
  expect(files('kvm', 'hvm', devices)).toEqual([
    "shared folder 'tag': folder /f",
    'random number generator: device /dev/hwrng',
    'TPM: device /dev/tpm0',
    "input 'evdev': device /dev/input/event0",
    "input 'passthrough': device /dev/input/event1",
    "memory 'nvdimm': write /n",
    "graphics 'vnc': bind /v",
  ]);
  expect(files('xen', 'hvm', devices)).toEqual([]);
});

test('a boot runs the boot loader of a PV guest, a restore does not; one without a folder is libxl’s to find', () => {
  const guest = (bootloader: string) => domain('xen', 'linux', '', `<bootloader>${bootloader}</bootloader>`);
  const expected = [{ role: 'bootloader', path: '/usr/lib/xen-4.14/bin/pygrub', access: 'execute' }];
  expect(startFiles(guest('/usr/lib/xen-4.14/bin/pygrub'), 'boot')).toEqual(expected);
  expect(startFiles(guest('/usr/lib/xen-4.14/bin/pygrub'), 'restore')).toEqual([]);
  expect(startFiles(guest('pygrub'), 'boot')).toEqual([]);
});
