import { describe, expect, test } from '@jest/globals';
import { asLibvirtError } from '../../../src/errors.ts';
import type { XmlElement } from '../../../src/model/element.ts';
import { checkAbiStability } from '../../../src/xml/abi-stability.ts';
import { readSnapshot } from '../../../src/xml/snapshot-read.ts';
import { virshRedefinitions } from './virsh.ts';

const UUID = '11111111-2222-3333-4444-777777777777';
const DOMAIN = `<domain type='test'><name>d</name><uuid>${UUID}</uuid><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>`;

const BASE = `<domainsnapshot>
<name>s</name><state>running</state><creationTime>5</creationTime><memory snapshot='internal'/>
<domain type='xen'>
  <name>d</name>
  <uuid>${UUID}</uuid>
  <genid>22222222-2222-3333-4444-777777777777</genid>
  <maxMemory slots='16' unit='KiB'>1524288</maxMemory>
  <memory unit='KiB'>524288</memory>
  <currentMemory unit='KiB'>524280</currentMemory>
  <vcpu placement='static' current='2'>4</vcpu>
  <os><type arch='x86_64' machine='xenfv'>hvm</type><smbios mode='host'/></os>
  <features>
    <acpi/><apic/><pae/><hap state='on'/><viridian/>
    <xen><e820_host state='on'/><passthrough state='on' mode='sync_pt'/></xen>
  </features>
  <cpu mode='host-passthrough' check='none'>
    <topology sockets='1' dies='1' cores='2' threads='2'/>
    <numa><cell id='0' cpus='0-3' memory='524288' unit='KiB'/></numa>
  </cpu>
  <clock offset='utc'><timer name='tsc' frequency='1000' mode='native'/><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/tmp/a.qcow2'/>
      <target dev='xvda' bus='xen'/>
      <serial>S1</serial>
      <wwn>5000c50015ea71ad</wwn>
    </disk>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
    <controller type='usb' index='0' model='qusb2' ports='4'/>
    <filesystem type='mount' accessmode='passthrough'><source dir='/a'/><target dir='/b'/></filesystem>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:01'/>
      <source bridge='br0'/>
      <model type='netfront'/>
      <mtu size='1400'/>
    </interface>
    <serial type='pty'><target port='0'/></serial>
    <parallel type='pty'><target port='0'/></parallel>
    <channel type='unix'><target type='virtio' name='org.x'/></channel>
    <console type='pty'><target type='serial' port='0'/></console>
    <input type='tablet' bus='usb'/>
    <sound model='ich6'/>
    <video><model type='vga' vram='16384' heads='1'/></video>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>
    </hostdev>
    <redirdev bus='usb' type='spicevmc'/>
    <watchdog model='i6300esb' action='reset'/>
    <memballoon model='xen'/>
    <rng model='virtio'><backend model='random'>/dev/random</backend></rng>
    <panic model='isa'/>
    <shmem name='m'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
    <tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>
  </devices>
</domain>
</domainsnapshot>`;

/** One change each, in the order in which libvirt would find them. */
const REFUSED: readonly (readonly [from: string | RegExp, to: string])[] = [
  ["type='xen'>", "type='kvm'>"],
  [/<genid.*/, ''],
  ['<genid>2222', '<genid>3333'],
  ['<name>d<', '<name>two<'],
  [/(<memory unit='KiB'>|memory=')524288/g, '$1524289'],
  ['524280', '524279'],
  ['1524288', '1524289'],
  [/<maxMemory.*/, ''],
  ["slots='16'", "slots='17'"],
  ['>4</vcpu>', '>5</vcpu>'],
  ["current='2'", "current='3'"],
  ["current='2'", ''],
  ["arch='x86_64' machine='xenfv'>hvm", "arch='x86_64' machine='xenfv'>linux"],
  ['x86_64', 'i686'],
  ['xenfv', 'xenpv'],
  [" machine='xenfv'", ''],
  [/<smbios mode='host'.>/, ''],
  ['<acpi/>', ''],
  ['<pae/>', ''],
  ["<hap state='on'/>", ''],
  ["hap state='on'", "hap state='off'"],
  ['<viridian/>', ''],
  [/<xen>.*/, ''],
  ["e820_host state='on'", "e820_host state='off'"],
  ["<timer name='hpet' present='no'/>", ''],
  ["name='hpet'", "name='pit'"],
  ["frequency='1000'", "frequency='1001'"],
  ["'native'", "'emulate'"],
  ["present='no'", "present='yes'"],
  ["check='none'", "check='full'"],
  ["cores='2' threads='2'", "cores='1' threads='4'"],
  [/<disk type='file' device='cdrom'>.*/, ''],
  ["device='cdrom'", "device='disk'"],
  ["dev='xvda' bus='xen'", "dev='vda' bus='virtio'"],
  ["'xvda'", "'xvdb'"],
  ['<serial>S1', '<serial>S2'],
  ['<serial>S1</serial>', ''],
  ['71ad', '71ae'],
  ['</wwn>', '</wwn><readonly/>'],
  ["ports='4'", "ports='5'"],
  [/<filesystem.*/, ''],
  ["dir='/b'", "dir='/c'"],
  [/<interface[\s\S]*<.interface>/, ''],
  ['00:00:01', '00:00:02'],
  ['netfront', 'e1000'],
  [/<model type='netfront'.>/, ''],
  ['1400', '1401'],
  ["<mac address='00", "<address type='pci' domain='0' bus='0' slot='9' function='0'/><mac address='00"],
  ['tablet', 'mouse'],
  ["tablet' bus='usb'", "tablet' bus='xen'"],
  [/<sound.*/, ''],
  ['ich6', 'ac97'],
  ["type='vga'", "type='cirrus'"],
  ['16384', '32768'],
  [/<hostdev[\s\S]*<.hostdev>/, ''],
  ["<serial type='pty'><target port='0'", "<serial type='pty'><target port='1'"],
  [/<parallel.*/, ''],
  ["<parallel type='pty'><target port='0'", "<parallel type='pty'><target port='1'"],
  ['org.x', 'org.y'],
  [/<redirdev.*/, ''],
  [/<watchdog.*/, ''],
  ['i6300esb', 'ib700'],
  ["memballoon model='xen'", "memballoon model='none'"],
  [/<rng.*/, ''],
  [/<panic.*/, ''],
  [/<shmem.*/, ''],
  [/<tpm.*/, ''],
  ['tpm-tis', 'tpm-crb'],
];

/** What the guest does not see, or libvirt does not look at. */
const TAKEN: readonly (readonly [from: string | RegExp, to: string])[] = [
  ['/tmp/a.qcow2', '/tmp/b.qcow2'],
  ["type='qcow2'", "type='raw'"],
  ['br0', 'br1'],
  ["source dir='/a'", "source dir='/z'"],
  ["offset='utc'", "offset='localtime'"],
  ['<on_crash>destroy', '<on_crash>restart'],
  [
    "<input type='tablet' bus='usb'/>",
    "<input type='tablet' bus='usb'/><graphics type='vnc' port='-1' autoport='yes'/>",
  ],
];

const changed = (text: string, [from, to]: readonly [string | RegExp, string]): string => {
  const result = text.replace(from, to);
  if (result === text) throw new Error(`nothing to change: ${from}`);
  return result;
};

function definitionOf(document: string): XmlElement {
  const { domain } = readSnapshot(document, { internal: false }).snapshot;
  if (!domain) throw new Error('no domain');
  return domain;
}

function ours(document: string): string | undefined {
  try {
    checkAbiStability(definitionOf(BASE), definitionOf(document));
    return undefined;
  } catch (error) {
    return asLibvirtError(error).message;
  }
}

describe('a definition that a saved guest would notice is refused as libvirt refuses it', () => {
  const documents = REFUSED.map((change) => changed(BASE, change));
  const libvirts = virshRedefinitions(DOMAIN, BASE, documents);

  test.each(REFUSED.map(([from, to], index) => ({ change: `${from} → ${to}`, index })))('$change', ({ index }) => {
    expect(libvirts[index]).toBeDefined();
    expect(ours(documents[index] ?? '')).toBe(libvirts[index]);
  });
});

test('of two faults the one is named that libvirt finds first', () => {
  const pairs = REFUSED.slice(1).flatMap((change, index) => {
    const before = REFUSED[index];
    if (!before) return [];
    const one = BASE.replace(...before);
    const both = one.replace(...change);
    return both === one ? [] : [both];
  });
  expect(pairs.map(ours)).toEqual(virshRedefinitions(DOMAIN, BASE, pairs));
});

describe('what only the host sees may change', () => {
  const documents = TAKEN.map((change) => changed(BASE, change));
  const libvirts = virshRedefinitions(DOMAIN, BASE, documents);

  test.each(TAKEN.map(([from, to], index) => ({ change: `${from} → ${to}`, index })))('$change', ({ index }) => {
    expect([libvirts.length, libvirts[index], ours(documents[index] ?? '')]).toEqual([
      TAKEN.length,
      undefined,
      undefined,
    ]);
  });
});

test('devices that libvirt adds by itself may be left out of a definition', () => {
  const without = BASE.replace(/<(controller|memballoon|console).*/g, '');
  expect(ours(without)).toBeUndefined();
});
