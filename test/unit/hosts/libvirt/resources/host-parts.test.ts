/** A domain is ended for a revert only if the host still has what it would be started with. */

import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
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
    sysfs,
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
