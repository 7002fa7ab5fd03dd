/** A domain is ended for a revert only if the host still has what it would be started with. */

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../../src/errors.ts';
import { checkHostParts } from '../../../../../src/hosts/libvirt/resources/host-parts.ts';
import { parseDefinition } from '../../../../../src/xml/domain/definition.ts';
import { GUEST, Record, RecordedUpstream } from '../../../../support/hosts/recorded-upstream.ts';

let sysfs: string;
let upstream: RecordedUpstream;

beforeEach(async () => {
  sysfs = await mkdtemp(join(tmpdir(), 'sysfs-'));
  upstream = new RecordedUpstream(new Record());
});

afterEach(() => rm(sysfs, { recursive: true }));

const check = (devices: string, { type = 'xen', os = 'linux' } = {}) =>
  checkHostParts(
    upstream,
    parseDefinition(
      `<domain type='${type}'><name>g</name><uuid>${GUEST.uuid}</uuid><memory>4096</memory><os><type>${os}</type></os>` +
        `<devices>${devices}</devices></domain>`,
    ),
    { sysfs, scripts: join(sysfs, 'scripts') },
  );

const refusal = (...args: Parameters<typeof check>) =>
  check(...args).then(
    () => undefined,
    ({ code, detail }: LibvirtError) => `${code}: ${detail}`,
  );

const on = (type: string, source: string, more = '') =>
  `<interface type='${type}'><mac address='00:16:3e:00:00:01'/><source ${source}/>${more}</interface>`;

const pci = (managed: string) =>
  `<hostdev mode='subsystem' type='pci' managed='${managed}'><source>` +
  `<address domain='0x0000' bus='0x3a' slot='0x1f' function='0x1'/></source></hostdev>`;

describe('a bridge', () => {
  test('must be there, and be a bridge', async () => {
    const text =
      "OPERATION_INVALID: the host has no bridge 'xenbr0', which interface '00:16:3e:00:00:01' of the domain would be started on; to make one: ip link add xenbr0 type bridge";
    expect(await refusal(on('bridge', "bridge='xenbr0'"))).toBe(text);
    await mkdir(join(sysfs, 'class/net/xenbr0'), { recursive: true });
    expect(await refusal(on('bridge', "bridge='xenbr0'"))).toBe(text);
    await mkdir(join(sysfs, 'class/net/xenbr0/bridge'));
    await check(on('bridge', "bridge='xenbr0'"));
  });

  test("of Open vSwitch is a device without the kernel's marks of a bridge", async () => {
    const port = on('bridge', "bridge='ovs 0'", "<virtualport type='openvswitch'/>");
    expect(await refusal(port)).toMatch(/to make one: ovs-vsctl add-br 'ovs 0'$/);
    await mkdir(join(sysfs, 'class/net/ovs 0'), { recursive: true });
    await check(port);
  });

  test.each(["<script path='vif-route'/>", "<backenddomain name='net'/>"])(
    'of an interface with %s is not asked for: it is not needed, or in another domain',
    async (more) => {
      await check(on('bridge', "bridge='xenbr0'", more));
    },
  );
});

describe('a virtual network', () => {
  const device = on('network', "network='it is'");

  test('must be there and active', async () => {
    expect(await refusal(device)).toMatch(/^OPERATION_INVALID: there is no network 'it is', which interface '00:16:3e/);
    upstream.networks.set('it is', false);
    expect(await refusal(device)).toMatch(
      /^OPERATION_INVALID: network 'it is' is not active, .*: virsh net-start 'it is'$/,
    );
    upstream.networks.set('it is', true);
    await check(device);
  });

  test('of which libvirt cannot say anything is no reason to refuse', async () => {
    upstream.networkLookupByName = async () => {
      throw new LibvirtError('NO_SUPPORT', 'virNetworkLookupByName');
    };
    await check(device);
  });
});

describe('a PCI device', () => {
  const device = '/bus/pci/devices/0000:3a:1f.1';

  test('must be there, as a host device and as an interface', async () => {
    const missing =
      /^OPERATION_INVALID: the host has no PCI device '0000:3a:1f\.1', which the domain would be started with$/;
    expect(await refusal(pci('yes'))).toMatch(missing);
    const address = "<address type='pci' domain='0x0000' bus='0x3a' slot='0x1f' function='0x1'/>";
    expect(await refusal(`<interface type='hostdev'><source>${address}</source></interface>`)).toMatch(missing);
  });

  test('that libvirt does not detach itself must not be in use by a driver of the host', async () => {
    await mkdir(join(sysfs, device), { recursive: true });
    await check(pci('no'));
    await symlink('../../drivers/e1000e', join(sysfs, device, 'driver'));
    expect(await refusal(pci('no'))).toMatch(/driver 'e1000e'; to detach it: virsh nodedev-detach pci_0000_3a_1f_1$/);
    await check(pci('yes'));
    await rm(join(sysfs, device, 'driver'));
    await symlink('../../drivers/pciback', join(sysfs, device, 'driver'));
    await check(pci('no'));
  });
});

describe('a USB device', () => {
  const usb = (source: string, more = '') =>
    `<hostdev mode='subsystem' type='usb'><source${more}>${source}</source></hostdev>`;
  const KIND = "<vendor id='0x046d'/><product id='0xc077'/>";

  beforeEach(() => mkdir(join(sysfs, 'bus/usb/devices'), { recursive: true }));

  async function plug(port: string, numbers: { readonly [attribute: string]: string }): Promise<void> {
    await mkdir(join(sysfs, 'bus/usb/devices', port));
    for (const [name, text] of Object.entries(numbers)) {
      await writeFile(join(sysfs, 'bus/usb/devices', port, name), `${text}\n`);
    }
  }

  test('must be there, by what it is or by its place', async () => {
    expect(await refusal(usb(KIND))).toBe(
      'OPERATION_INVALID: the host has no USB device with idVendor 0x046d, idProduct 0xc077, which the domain would be started with; those that it has: lsusb',
    );
    const place = "<address bus='3' device='10'/>";
    expect(await refusal(usb(place))).toMatch(/no USB device with busnum 3, devnum 10, /);
    await plug('3-1', { idVendor: '046d', idProduct: 'c077', busnum: '3', devnum: '10' });
    await plug('3-1:1.0', {});
    await check(usb(KIND) + usb(place));
  });

  test('must be the only one that it can be', async () => {
    for (const port of ['1-1', '1-2']) await plug(port, { idVendor: '046d', idProduct: 'c077', busnum: '1' });
    expect(await refusal(usb(KIND))).toMatch(/^OPERATION_INVALID: the host has more than one USB device with idVendor/);
  });

  test.each(['optional', 'requisite'])('that may be missing (%s) is not asked for', async (policy) => {
    await check(usb(KIND, ` startupPolicy='${policy}'`));
  });

  test('is not asked for on a host that does not show any', async () => {
    await rm(join(sysfs, 'bus/usb'), { recursive: true });
    await check(usb(KIND));
  });
});

describe('the server of a display', () => {
  const vnc = (listen: string, attribute = '') =>
    `<graphics type='vnc' autoport='yes'${attribute}>${listen}</graphics>`;
  const at = (address: string) => vnc(`<listen type='address' address='${address}'/>`);

  test.each(['192.0.2.77', '2001:db8::77'])(
    'cannot listen on %s, which is not an address of the host',
    async (address) => {
      const text = `OPERATION_INVALID: the host has no address '${address}', on which graphics 'vnc' of the domain would listen; those that it has: ip address`;
      expect(await refusal(at(address))).toBe(text);
      expect(await refusal(vnc('', ` listen='${address}'`))).toBe(text);
    },
  );

  test.each(['127.0.0.1', '127.0.1.1', '0:0::1', '0.0.0.0', '::', 'host.example'])(
    'can listen on %s',
    async (address) => {
      await check(at(address));
    },
  );

  test('listens on a virtual network that is active', async () => {
    const device = vnc("<listen type='network' network='n'/>");
    expect(await refusal(device)).toMatch(/there is no network 'n', which graphics 'vnc' of the domain/);
    upstream.networks.set('n', true);
    await check(device);
  });
});

describe('the script of an interface', () => {
  const device = (path: string) => on('bridge', "bridge='xenbr0'", `<script path='${path}'/>`);

  test('is a program, in the folder of Xen’s scripts if it is not said which', async () => {
    await mkdir(join(sysfs, 'scripts/vif-folder'), { recursive: true });
    const text = (path: string) =>
      `OPERATION_INVALID: the host has no program '${path}', by which interface '00:16:3e:00:00:01' of the domain would be connected`;
    expect(await refusal(device('vif-own'))).toBe(text(join(sysfs, 'scripts/vif-own')));
    expect(await refusal(device('vif-folder'))).toBe(text(join(sysfs, 'scripts/vif-folder')));
    expect(await refusal(device('/nowhere/vif'))).toBe(text('/nowhere/vif'));
    await writeFile(join(sysfs, 'scripts/vif-own'), '');
    expect(await refusal(device('vif-own'))).toBe(text(join(sysfs, 'scripts/vif-own')));
    await writeFile(join(sysfs, 'scripts/vif-other'), '', { mode: 0o755 });
    await check(device('vif-other') + device(join(sysfs, 'scripts/vif-other')));
  });

  test('is another domain’s if that one connects the interface', async () => {
    await check(on('bridge', "bridge='xenbr0'", "<script path='/nowhere/vif'/><backenddomain name='net'/>"));
  });
});

describe('the kind of guest', () => {
  test.each([
    ['xen', 'linux', undefined],
    ['xen', 'xen', undefined],
    ['xen', 'hvm', "OPERATION_INVALID: the host runs no guests of type 'hvm' on 'xen' now: see virsh capabilities"],
    ['kvm', 'xen', "OPERATION_INVALID: the host runs no guests of type 'xen' on 'kvm' now: see virsh capabilities"],
  ])('%s %s is in the capabilities of the host: %s', async (type, os, expected) => {
    expect(await refusal('', { type, os })).toBe(expected);
  });

  test('is not known without capabilities', async () => {
    upstream.capabilities = '<capabilities/>';
    await check('', { os: 'hvm' });
  });
});
